// SPDX-License-Identifier: MIT
//
// Catch2 in one spelling: tests include this header and run with Catch2 2.13 and with Catch2 3.
//
//   Approx, WithinAbs, WithinRel, WithinULP, StartsWith, EndsWith    as in both
//   ContainsSubstring                                                as in Catch2 3
//   SKIP_TEST("reason")                                              skips the rest of a test case
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

using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using Catch::Matchers::WithinULP;
