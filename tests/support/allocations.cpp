// SPDX-License-Identifier: MIT
//
// operator new of this program, which counts. The address sanitizer has one of its own, which also
// finds memory that is given back in another way than it was asked for: there its hook counts.
#include "allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define COUNTS_BY_HOOK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTS_BY_HOOK 1
#endif
#endif

namespace posenc_test {
namespace {

std::atomic<std::size_t> count{0};

}  // namespace

std::size_t allocations() { return count; }

}  // namespace posenc_test

#if defined(COUNTS_BY_HOOK)

// As sanitizer/allocator_interface.h declares it, which GCC does not bring.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*after_malloc)(const volatile void*,
                                                                              std::size_t),
                                                         void (*before_free)(const volatile void*));

namespace posenc_test {
namespace {

[[maybe_unused]] const int hooks = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) { ++count; }, [](const volatile void*) {});

}  // namespace
}  // namespace posenc_test

#else

namespace posenc_test {
namespace {

void* counted(std::size_t bytes, std::size_t alignment) {
  ++count;
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) {  // which is faster in malloc
    if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
    throw std::bad_alloc();
  }
  const std::size_t room = (bytes + alignment - 1) / alignment * alignment;
  if (room >= bytes)
    if (void* memory = std::aligned_alloc(alignment, room == 0 ? alignment : room)) return memory;
  throw std::bad_alloc();
}

}  // namespace
}  // namespace posenc_test

// All forms, because the sanitizers bring their own of those that are left out.
void* operator new(std::size_t bytes) {
  return posenc_test::counted(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new[](std::size_t bytes) { return operator new(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return posenc_test::counted(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return operator new(bytes, alignment);
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept try {
  return operator new(bytes);
} catch (const std::bad_alloc&) {
  return nullptr;
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept try {
  return operator new(bytes);
} catch (const std::bad_alloc&) {
  return nullptr;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

#endif
