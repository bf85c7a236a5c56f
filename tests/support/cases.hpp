// SPDX-License-Identifier: MIT
//
// How many cases run where more of them only make a test surer: POSENC_TEST_CASES says it in percent.
// Without it, 100, and 25 at a level that is forced below the machine's own. The variants of .ci/run run fewer, its
// nightly mode more.
#pragma once

#include <posenc/core/types.hpp>
#include <posenc/simd/level.hpp>

#include "random.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace posenc_test {

/// Is the level forced, and does the machine have a better one?
inline bool is_below_best_level() {
  const char* const forced = std::getenv("POSENC_SIMD");
  return forced && !std::string_view(posenc::simd::name(posenc::simd::available_levels().back()))
                        .starts_with(forced);
}

inline Index percent_of_cases() {
  static const Index percent = [] {
    const char* const text = std::getenv("POSENC_TEST_CASES");
    if (!text) return is_below_best_level() ? 25L : 100L;
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (value < 1 || *end != '\0')
      throw std::invalid_argument("POSENC_TEST_CASES is a percentage from 1 on, not " +
                                  std::string(text));
    return value;
  }();
  return percent;
}

/// Of random cases: at least one.
inline Index some_of(Index cases) { return std::max<Index>(cases * percent_of_cases() / 100, 1); }

/// Which cases of nested loops run, asked once for each: all of them, or some, the first among them, and
/// the same ones in every run.
class Sample {
 public:
  bool next() {
    return percent_of_cases() >= 100 || std::exchange(is_first_, false) ||
           random_.chance(static_cast<double>(percent_of_cases()) / 100);
  }

 private:
  Random random_{1};
  bool is_first_ = true;
};

}  // namespace posenc_test
