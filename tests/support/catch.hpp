// SPDX-License-Identifier: MIT
//
// Catch2 in one spelling: tests include this header and run with Catch2 2.13 and with Catch2 3.
//
//   Approx, WithinAbs, WithinRel, WithinULP, StartsWith, EndsWith    as in both
//   ContainsSubstring                                                as in Catch2 3
//   SKIP_TEST("reason")                                              skips the rest of a test case
//
// Of long vectors that differ it prints the first elements: Catch2 takes minutes to wrap a hundred thousand.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)

#include <catch2/catch_all.hpp>

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

#define SKIP_TEST(reason) SKIP(reason)

#else

#include <catch2/catch.hpp>

#include <string>

inline auto ContainsSubstring(const std::string& text) { return Catch::Matchers::Contains(text); }

#define SKIP_TEST(reason)          \
  do {                             \
    WARN("skipped: " << (reason)); \
    return;                        \
  } while (false)

#endif

#include <algorithm>
#include <sstream>
#include <vector>

template <class T>
struct FirstElements {
  static std::string convert(const std::vector<T>& all) {
    constexpr std::size_t most = 8;
    std::ostringstream text;
    text.precision(17);
    text << '{';
    for (std::size_t i = 0; i < std::min(all.size(), most); ++i) text << (i ? ", " : "") << all[i];
    if (all.size() > most) text << ", ... of " << all.size();
    text << '}';
    return text.str();
  }
};
template <>
struct Catch::StringMaker<std::vector<float>> : FirstElements<float> {};
template <>
struct Catch::StringMaker<std::vector<double>> : FirstElements<double> {};

using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using Catch::Matchers::WithinULP;
