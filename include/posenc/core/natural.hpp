// SPDX-License-Identifier: MIT
//
// Natural: whole numbers of any size, for comparing products of powers exactly where floating point
// cannot tell which one is greater.
#pragma once

#include <posenc/core/types.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

POSENC_NAMESPACE_BEGIN
namespace detail {

/// Starts at one and grows by factors; never zero.
class Natural {
 public:
  /// `base` is positive and below 2^32.
  Natural& multiply_by_power(Position base, Index exponent) {
    for (Index i = 0; i < exponent; ++i) multiply(static_cast<std::uint32_t>(base));
    return *this;
  }

  friend bool operator<(const Natural& a, const Natural& b) {
    if (a.digits_.size() != b.digits_.size()) return a.digits_.size() < b.digits_.size();
    for (std::size_t i = a.digits_.size(); i-- > 0;)
      if (a.digits_[i] != b.digits_[i]) return a.digits_[i] < b.digits_[i];
    return false;
  }

 private:
  void multiply(std::uint32_t factor) {
    std::uint64_t carry = 0;
    for (std::uint32_t& digit : digits_) {
      carry += std::uint64_t{digit} * factor;
      digit = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) digits_.push_back(static_cast<std::uint32_t>(carry));
  }

  std::vector<std::uint32_t> digits_{1};  ///< 32 bits each, least significant first
};

}  // namespace detail
POSENC_NAMESPACE_END
