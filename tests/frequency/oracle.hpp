// SPDX-License-Identifier: MIT
//
// What the tests of frequency transforms share. Expected numbers are computed here and in the
// tests, in long double, from the formulas of the papers; nothing is taken from the library but the
// state.
#pragma once

#include "../support/catch.hpp"

#include <posenc/core/concepts.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace oracle {

using posenc::Index;
using posenc::Position;
using Real = long double;

inline constexpr Real pi = 3.141592653589793238462643383279502884L;
inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// w_i of plain RoPE.
inline Real plain(Index i, Index d, Real base) {
  return std::pow(base, -2.0L * static_cast<Real>(i) / static_cast<Real>(d));
}

/// The state of plain RoPE over a whole head.
inline posenc::RotaryState state(Index d, double base = 10000, Position length = 0) {
  posenc::RotaryState s;
  s.inv_freq.resize(d / 2);
  for (Index i = 0; i < d / 2; ++i) s.inv_freq[i] = static_cast<double>(plain(i, d, base));
  s.base = base;
  s.head_dim = s.rotary_dim = d;
  s.length = length;
  return s;
}

template <class Transform>
posenc::RotaryState after(const Transform& transform, posenc::RotaryState s) {
  transform.transform(s);
  return s;
}

/// Every pair of `s` is expected(i), to `relative`.
template <class Expected>
void check_pairs(const posenc::RotaryState& s, Expected expected, double relative = 1e-12) {
  REQUIRE(s.inv_freq.size() == s.rotary_dim / 2);
  for (Index i = 0; i < s.inv_freq.size(); ++i) {
    INFO("pair " << i);
    const double want = static_cast<double>(expected(i));
    CHECK(std::abs(s.inv_freq[i] - want) <= relative * std::abs(want));
  }
}

/// The transform leaves frequencies, base and factors as they are, to the last bit.
template <class Transform>
void check_identity(const Transform& transform, const posenc::RotaryState& before) {
  const posenc::RotaryState s = after(transform, before);
  CHECK((s.inv_freq == before.inv_freq).all());
  CHECK(s.base == before.base);
  CHECK(s.attention_factor == 1);
  CHECK(s.score_factor == 1);
}

/// w/s <= w' <= w, and w' strictly decreasing.
inline void check_between(const posenc::RotaryState& s, const posenc::RotaryState& before,
                          double factor) {
  for (Index i = 0; i < s.inv_freq.size(); ++i) {
    INFO("pair " << i);
    CHECK(s.inv_freq[i] <= before.inv_freq[i]);
    CHECK(s.inv_freq[i] >= before.inv_freq[i] / factor * (1 - 1e-15));
    if (i > 0) CHECK(s.inv_freq[i] < s.inv_freq[i - 1]);
  }
}

template <class Transform>
std::vector<std::string> sentences(const Transform& transform, const posenc::RotaryState& s) {
  posenc::Problems problems;
  transform.check(problems, s);
  return problems.sentences();
}

/// The check reports exactly one problem, in a sentence with this fragment.
template <class Transform>
void check_sentence(const Transform& transform, const posenc::RotaryState& s,
                    const std::string& fragment) {
  const std::vector<std::string> found = sentences(transform, s);
  INFO("expected: " << fragment);
  REQUIRE(found.size() == 1);
  CHECK_THAT(found.front(), ContainsSubstring(fragment));
  CHECK(found.front().back() == '.');
}

inline Approx golden(double value) { return Approx(value).epsilon(1e-9).margin(0); }
/// For numbers that the source prints with fewer digits.
inline Approx printed(double value, double relative) {
  return Approx(value).epsilon(relative).margin(0);
}

}  // namespace oracle
