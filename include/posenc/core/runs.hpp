// SPDX-License-Identifier: MIT
//
// A list of numbers in which neighbours are told as a range.
#pragma once

#include <posenc/core/types.hpp>

#include <string>
#include <vector>

POSENC_NAMESPACE_BEGIN
namespace detail {

/// "0-4 6-10" for 0 1 2 3 4 6 7 8 9 10.
inline std::string runs(const std::vector<Index>& numbers) {
  std::string text;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::size_t first = i;
    while (i + 1 < numbers.size() && numbers[i + 1] == numbers[i] + 1) ++i;
    if (first != 0) text += " ";
    text += std::to_string(numbers[first]);
    if (i != first) text += "-" + std::to_string(numbers[i]);
  }
  return text;
}

}  // namespace detail
POSENC_NAMESPACE_END
