// SPDX-License-Identifier: MIT
//
// Memory between guards, which tell whether something was written beside it.
#pragma once

#include "bits.hpp"

#include <posenc/core/view.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <vector>

namespace posenc_test {

/// Scratch memory of exactly so many bytes between guards. Each byte is `content` before; as they
/// are unless it is given, all numbers are NaN.
class Workspace {
 public:
  explicit Workspace(std::size_t bytes, int content = 0xff)
      : bytes_(bytes), memory_(static_cast<std::byte*>(
                           ::operator new(bytes + 2 * guard, std::align_val_t{alignment}))) {
    std::memset(memory_, 0xa5, bytes + 2 * guard);
    std::memset(memory_ + guard, content, bytes);
  }
  ~Workspace() { ::operator delete(memory_, std::align_val_t{alignment}); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  [[nodiscard]] std::span<std::byte> memory() const { return {memory_ + guard, bytes_}; }
  [[nodiscard]] bool guards_are_whole() const {
    const auto whole = [](const std::byte* at) {
      return std::all_of(at, at + guard, [](std::byte b) { return b == std::byte{0xa5}; });
    };
    return whole(memory_) && whole(memory_ + guard + bytes_);
  }

 private:
  static constexpr std::size_t guard = 256, alignment = 128;
  std::size_t bytes_;
  std::byte* memory_;
};

/// A tensor in memory with room between heads and between tokens, before the first element and
/// after the last one; what stands there must stay. `skip` elements come first, so that the data is
/// aligned to no more than an element.
template <class T>
class Guarded {
 public:
  Guarded(posenc::Index tokens, posenc::Index heads, posenc::Index width, posenc::Index skip)
      : tokens_(tokens), heads_(heads), width_(width), skip_(skip),
        memory_(static_cast<std::size_t>(skip + tokens * token_stride() + room), guard()) {}

  [[nodiscard]] posenc::TensorView<T> view() {
    return {memory_.data() + skip_, tokens_, heads_, width_, token_stride(), head_stride()};
  }

  [[nodiscard]] bool untouched_around() {
    std::vector<char> inside(memory_.size());
    const posenc::TensorView<T> all = view();
    for (posenc::Index t = 0; t < tokens_; ++t)
      for (posenc::Index h = 0; h < heads_; ++h)
        std::fill_n(inside.begin() + (all.row(t, h) - memory_.data()), width_, char{1});
    for (std::size_t i = 0; i < memory_.size(); ++i)
      if (!inside[i] && bits_of(memory_[i]) != bits_of(guard())) return false;
    return true;
  }

 private:
  static constexpr posenc::Index room = 37;

  static T guard() { return std::bit_cast<T>(static_cast<Bits<T>>(0x2aa5'5aa5'2aa5'5aa5U)); }
  [[nodiscard]] posenc::Index head_stride() const { return width_ + 5; }
  [[nodiscard]] posenc::Index token_stride() const { return heads_ * head_stride() + 3; }

  posenc::Index tokens_, heads_, width_, skip_;
  std::vector<T> memory_;
};

}  // namespace posenc_test
