// SPDX-License-Identifier: MIT
//
// Memory to measure on: aligned to pages, and touched, so that no page arrives in a measurement.
#pragma once

#include <posenc/core/types.hpp>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace bench {

template <class T>
class Memory {
 public:
  /// Holds numbers between 1/2 and 2: whatever is rotated or negated stays clear of zero, of
  /// denormals and of infinity, and so do pairs of 16-bit elements when they are read as one float.
  explicit Memory(posenc::Index count) : count_(static_cast<std::size_t>(count)) {
    constexpr std::size_t page = 4096;
    data_.reset(static_cast<T*>(std::aligned_alloc(page, (bytes() + page - 1) / page * page)));
    if (!data_) throw std::bad_alloc();
    for (std::size_t i = 0; i < count_; ++i)
      data_.get()[i] = static_cast<T>(0.5F + static_cast<float>(i % 97) / 65);
  }

  [[nodiscard]] T* data() const { return data_.get(); }
  [[nodiscard]] std::size_t bytes() const { return count_ * sizeof(T); }
  [[nodiscard]] float* floats() const { return reinterpret_cast<float*>(data_.get()); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::size_t count_;
  std::unique_ptr<T, Free> data_;
};

}  // namespace bench
