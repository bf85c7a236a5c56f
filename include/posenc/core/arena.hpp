// SPDX-License-Identifier: MIT
//
// Scratch memory of a call: how it is divided, and whose it is.
//
// One layout function serves both: asked without memory it measures, asked with memory it hands
// out. So the size that a user is told and the size that a kernel uses cannot drift apart.
#pragma once

#include <posenc/core/memory.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

POSENC_NAMESPACE_BEGIN

namespace detail {

constexpr Index round_up(Index n, Index block) { return (n + block - 1) / block * block; }

inline constexpr Index workspace_alignment = 64;

/// Hands out consecutive aligned pieces; counts only, when it begins without memory.
class Arena {
 public:
  explicit Arena(std::byte* memory) : memory_(memory) {}

  /// Room for rows * columns elements; used() is negative once a size did not fit.
  template <class T>
  T* take(Index rows, Index columns) {
    return reinterpret_cast<T*>(take(rows, columns, static_cast<Index>(sizeof(T))));
  }
  [[nodiscard]] Index used() const { return used_; }

 private:
  [[gnu::noinline]] std::byte* take(Index rows, Index columns, Index size) {
    Index count = 0, bytes = 0;
    if (used_ < 0 || !multiply(rows, columns, count) || !multiply(count, size, bytes) ||
        bytes > std::numeric_limits<Index>::max() / 2 - used_) {
      used_ = -1;
      return nullptr;
    }
    std::byte* const piece = memory_ ? memory_ + used_ : nullptr;
    used_ += round_up(bytes, workspace_alignment);
    return piece;
  }

  std::byte* memory_ = nullptr;
  Index used_ = 0;
};

/// Scratch memory: the caller's, or its own.
class Workspace {
 public:
  Workspace(std::span<std::byte> given, Index bytes) : data_(given.data()) {
    if (!given.empty()) return;
    own_ = Memory(static_cast<std::size_t>(bytes), std::size_t{workspace_alignment});
    data_ = own_.data();
  }
  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  std::byte* data_;
  Memory own_;
};

/// Reports a workspace of less than `bytes` bytes, which is negative when they do not fit in memory.
inline void check_workspace(Problems& problems, std::span<const std::byte> given, Index bytes) {
  problems.require(bytes >= 0, "the workspace does not fit in memory.");
  problems.require(given.empty() || std::ssize(given) >= bytes, "the workspace has ", given.size(),
                   " bytes, but ", bytes, " are needed.");
  problems.require(reinterpret_cast<std::uintptr_t>(given.data()) % workspace_alignment == 0,
                   "the workspace must be aligned to ", workspace_alignment, " bytes.");
}

}  // namespace detail

POSENC_NAMESPACE_END
