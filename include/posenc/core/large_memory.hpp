// SPDX-License-Identifier: MIT
//
// Memory that is read from one end to the other again and again.
#pragma once

#include <posenc/core/memory.hpp>

#if defined(__linux__)
#include <sys/mman.h>
#endif

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Where it is long enough for that, of huge pages: reading a long cache takes a tenth longer from small ones. It
/// is only advice: a system that has no huge pages to give does nothing.
inline Memory large_memory(std::size_t bytes) {
  constexpr std::size_t small_alignment = 64, huge_page = std::size_t{2} << 20;
  const bool is_large = bytes >= 2 * huge_page;
  Memory memory(bytes, is_large ? huge_page : small_alignment);
#if defined(__linux__)
  if (is_large) static_cast<void>(madvise(memory.data(), bytes, MADV_HUGEPAGE));
#endif
  return memory;
}

}  // namespace detail

POSENC_NAMESPACE_END
