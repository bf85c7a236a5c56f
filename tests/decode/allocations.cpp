// SPDX-License-Identifier: MIT
//
// operator new of this program, which counts. Sizes and alignments of all forms come here.
#include "allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace decode_test {
namespace {

std::atomic<std::size_t> count{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  ++count;
  const std::size_t room = (bytes + alignment - 1) / alignment * alignment;
  if (void* memory = std::aligned_alloc(alignment, room == 0 ? alignment : room)) return memory;
  throw std::bad_alloc();
}

}  // namespace

std::size_t allocations() { return count; }

}  // namespace decode_test

void* operator new(std::size_t bytes) {
  return decode_test::counted(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return decode_test::counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
