// SPDX-License-Identifier: MIT
//
// A fuzzer's bytes as choices, one byte each; zeros once they have run out.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fuzz {

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t count) : data_(data), left_(count) {}
  [[nodiscard]] std::size_t below(std::size_t end) { return next() % end; }
  [[nodiscard]] bool are_left() const { return left_ > 0; }
  template <class T, std::size_t N>
  const T& one_of(const T (&list)[N]) {
    return list[below(N)];
  }

 private:
  std::uint8_t next() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  const std::uint8_t* data_;
  std::size_t left_;
};

}  // namespace fuzz
