// SPDX-License-Identifier: MIT
#include <posenc/rotary/axial_2d.hpp>

#include <posenc/frequency/pi.hpp>
#include <posenc/rotary/m_rope.hpp>

#include "axes.hpp"

#include <numbers>

using namespace axes_test;

namespace axial_2d_cases {

constexpr double two_pi = 2 * std::numbers::pi;

/// The table of the head of axial_2d.hpp, written out.
Turned formula(const Axial2D& axial, Real base, Index width, Index pair, Real row, Real column) {
  const Index half = width / 4, j = pair % half;
  const bool second = pair >= half, row_first = axial.first == ImageAxis::row;
  const bool odd = second && axial.frequencies == AxialFrequencies::alternating;
  return {static_cast<Real>(axial.multiplier) * (second == row_first ? column : row) *
          ladder(base, width, 2 * j + (odd ? 1 : 0))};
}

template <class T, class LayoutT>
void matches_formula(Index width, double base, const Axial2D& axial) {
  const Index tokens = 11;
  const auto bound = bind(RoPE<LayoutT>{.head_dim = width, .base = base} | axial);
  const std::vector<T> x = noise<T>(tokens * 3 * width, 8);
  const auto ratio = [&](const Positions& positions, auto&& coordinate) {
    return worst_ratio(x, rotated(x, tokens, positions, bound), tokens, bound.rotary(),
                       [&](Index i, Index t) {
                         return formula(axial, static_cast<Real>(base), width, i, coordinate(0, t),
                                        coordinate(1, t));
                       });
  };
  const std::vector<Position> ids = random_ids(2, tokens, 0, 63, 9);
  const Positions whole(ids, 2);
  CHECK(ratio(whole, [&](int a, Index t) { return static_cast<Real>(whole.at(a, t)); }) <= 1);
  const std::vector<double> centres = noise<double>(2 * tokens, 10);
  const Positions real(centres, 2);
  CHECK(ratio(real, [&](int a, Index t) { return static_cast<Real>(real.real(a, t)); }) <= 1);
}

TEST_CASE("Axial2D: a ladder per axis is that of half of the head") {
  const RotaryState state = bind(RoPE<HalfSplit>{.head_dim = 80} | Axial2D{}).rotary().state;
  const Frequencies half = geometric_frequencies(10000, 40);
  CHECK(state.axes == 2);
  REQUIRE(state.axis.size() == 40);
  for (Index i = 0; i < 40; ++i) {
    CHECK(state.axis[size(i)] == (i < 20 ? 0 : 1));
    CHECK_THAT(state.inv_freq[i], WithinRel(half[i % 20], 1e-14));
  }
}

TEST_CASE("Axial2D: alternating deals one ladder out, and loses no frequency") {
  const Axial2D pixtral{.frequencies = AxialFrequencies::alternating};
  const RotaryState state = bind(RoPE<HalfSplit>{.head_dim = 64} | pixtral).rotary().state;
  const Frequencies all = geometric_frequencies(10000, 64);
  for (Index j = 0; j < 16; ++j) {
    CHECK(state.inv_freq[j] == all[2 * j]);
    CHECK(state.inv_freq[16 + j] == all[2 * j + 1]);
  }
  CHECK_THAT(state.inv_freq.sum(), WithinRel(all.sum(), 1e-14));
}

TEST_CASE("Axial2D: which axis first, and by how much") {
  const RotaryState state = bind(RoPE<Interleaved>{.head_dim = 16, .base = 100} |
                                 Axial2D{.first = ImageAxis::column, .multiplier = two_pi})
                                .rotary()
                                .state;
  CHECK(state.axis == std::vector<int>{1, 1, 1, 1, 0, 0, 0, 0});
  for (Index j = 0; j < 4; ++j) {
    const double expected = two_pi * std::pow(100.0, -static_cast<double>(j) / 4);
    CHECK_THAT(state.inv_freq[j], WithinRel(expected, 1e-14));
    CHECK(state.inv_freq[4 + j] == state.inv_freq[j]);
  }
}

TEST_CASE("Axial2D: of a frequency scheme before it") {
  const RoPE<HalfSplit> rope{.head_dim = 64};
  const Frequencies plain = bind(rope | Axial2D{}).rotary().state.inv_freq;
  CHECK((bind(rope | PI{.factor = 4} | Axial2D{}).rotary().state.inv_freq * 4 == plain).all());
  CHECK((bind(rope | Axial2D{} | PI{.factor = 4}).rotary().state.inv_freq * 4 == plain).all());
}

TEMPLATE_TEST_CASE("Axial2D: rotation against the formula", "", float, double) {
  constexpr auto alternating = AxialFrequencies::alternating;
  matches_formula<TestType, HalfSplit>(80, 10000, {});
  matches_formula<TestType, Interleaved>(88, 10000, {.first = ImageAxis::column});
  matches_formula<TestType, HalfSplit>(64, 10000, {.frequencies = alternating});
  matches_formula<TestType, Interleaved>(64, 100,
                                         {.frequencies = alternating, .first = ImageAxis::column});
  matches_formula<TestType, HalfSplit>(128, 100, {.multiplier = two_pi});
  matches_formula<TestType, HalfSplit>(4, 10000, {});
}

TEST_CASE("Axial2D: a column of patches is RoPE in one dimension on half of the pairs") {
  const Index tokens = 30, width = 64, half = 16;
  std::vector<Position> rows(size(2 * tokens), 0);
  for (Index t = 0; t < tokens; ++t) rows[size(t)] = 5 * t;
  const std::vector<double> x = noise<double>(tokens * width, 13);
  const std::vector<double> y =
      rotated(x, tokens, Positions(rows, 2), bind(RoPE<HalfSplit>{.head_dim = width} | Axial2D{}));
  // The channels of pairs 0 .. 15 as heads of their own.
  std::vector<double> own;
  for (Index t = 0; t < tokens; ++t)
    for (const Index first : {Index{0}, width / 2})
      for (Index c = 0; c < half; ++c) own.push_back(x[size(t * width + first + c)]);
  own = rotated(own, tokens, Positions(rows).first(size(tokens)),
                bind(RoPE<HalfSplit>{.head_dim = width / 2}));
  for (Index t = 0; t < tokens; ++t)
    for (Index c = 0; c < width; ++c) {
      const Index pair = c % (width / 2), side = c / (width / 2);
      const double got = y[size(t * width + c)];
      if (pair < half)
        CHECK(got == own[size(t * width / 2 + side * half + pair)]);
      else
        CHECK(got == x[size(t * width + c)]);
    }
}

TEST_CASE("Axial2D: the class token stands at (0, 0) and does not turn") {
  const Index width = 32;
  const auto bound =
      bind(RoPE<Interleaved>{.head_dim = width} | Axial2D{.first = ImageAxis::column});
  const std::vector<Position> ids{1, 2, 0, 1, 1, 0};
  const std::vector<double> real_ids{0.5, 0, -0.5, 0};
  const std::vector<float> x = noise<float>(3 * width, 14);
  const std::vector<float> y = rotated(x, 3, Positions(ids, 2), bound);
  CHECK(std::equal(y.end() - width, y.end(), x.end() - width));
  CHECK_FALSE(std::equal(y.begin(), y.begin() + width, x.begin()));
  const std::vector<float> two(x.begin(), x.begin() + 2 * width);
  const std::vector<float> z = rotated(two, 2, Positions(real_ids, 2), bound);
  CHECK(std::equal(z.end() - width, z.end(), two.end() - width));
}

TEST_CASE("Axial2D: lengths are kept, products depend on the difference in each coordinate") {
  const Index tokens = 24, width = 64;
  for (const AxialFrequencies frequencies :
       {AxialFrequencies::per_axis, AxialFrequencies::alternating}) {
    const auto bound =
        bind(RoPE<HalfSplit>{.head_dim = width} | Axial2D{.frequencies = frequencies});
    std::vector<Position> ids = random_ids(2, tokens, 0, 63, 31), moved = ids;
    for (Index t = 0; t < tokens; ++t) {
      moved[size(t)] += 500;
      moved[size(tokens + t)] -= 3;
    }
    const std::vector<double> x = noise<double>(tokens * width, 32);
    const std::vector<double> y = rotated(x, tokens, Positions(ids, 2), bound),
                              z = rotated(x, tokens, Positions(moved, 2), bound);
    const auto row = [&](const std::vector<double>& v, Index t) {
      return std::vector<double>(v.begin() + t * width, v.begin() + (t + 1) * width);
    };
    for (Index t = 0; t < tokens; ++t) {
      CHECK_THAT(dot(row(y, t), row(y, t)), WithinRel(dot(row(x, t), row(x, t)), 1e-13));
      for (Index u = 0; u < tokens; ++u)
        CHECK_THAT(dot(row(z, t), row(z, u)), WithinAbs(dot(row(y, t), row(y, u)), 1e-10));
    }
  }
}

/// Greatest error of cosines and sines, as rotate() puts them into pairs (1, 0), over all pairs of some
/// positions; angle(row, column) is what one float32 loop of a peer says of all pairs.
template <class AnglesOf>
float worst_of_peer(const Axial2D& axial, Index width, double base, Angles mode,
                    AnglesOf&& angles) {
  const Index pairs = width / 2;
  const std::vector<Position> rows{0, 1, 7, 800, 32'767, 3}, columns{0, 5, 7, 32'767, 2, 32'767};
  std::vector<Position> ids = rows;
  ids.insert(ids.end(), columns.begin(), columns.end());
  const Index tokens = std::ssize(rows);
  std::vector<float> x(size(tokens * width));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 2 == 0 ? 1 : 0;
  const auto bound =
      bind(RoPE<Interleaved>{.head_dim = width, .base = base} | axial, {.angles = mode});
  const std::vector<float> y = rotated(x, tokens, Positions(ids, 2), bound);
  float worst = 0;
  for (Index t = 0; t < tokens; ++t) {
    const std::vector<float> of_pair =
        angles(static_cast<float>(rows[size(t)]), static_cast<float>(columns[size(t)]));
    for (Index i = 0; i < pairs; ++i) {
      const float* const turned = &y[size(t * width + 2 * i)];
      worst = std::max({worst, std::abs(turned[0] - std::cos(of_pair[size(i)])),
                        std::abs(turned[1] - std::sin(of_pair[size(i)]))});
    }
  }
  return worst;
}

TEST_CASE("Axial2D: ggml's vision mode, whose ladder begins anew for each coordinate") {
  // ggml_rope_multi of GGML_ROPE_TYPE_VISION is called with n_dims = width / 2 and four sections of
  // width / 4 pairs, of which a head has the first two.
  for (const Index width : {64, 72, 80, 128})
    for (const double base : {100.0, 10000.0})
      for (const Angles mode : {Angles::ggml, Angles::exact}) {
        const auto vision = [&](float row, float column) {
          const float theta_scale =
              std::pow(static_cast<float>(base), -2.0F / static_cast<float>(width / 2));
          const Index section = width / 4;
          float theta_row = row, theta_column = column;
          std::vector<float> angles;
          for (Index i = 0; i < width / 2; ++i) {
            if (i == section) theta_column = column;
            angles.push_back(i < section ? theta_row : theta_column);
            theta_row *= theta_scale;
            theta_column *= theta_scale;
          }
          return angles;
        };
        INFO("width " << width << ", base " << base);
        const float worst = worst_of_peer({}, width, base, mode, vision);
        if (mode == Angles::ggml)
          CHECK(worst <= 1e-7F);
        else
          CHECK(worst > 1e-4F);  // what there is to follow
      }
}

TEST_CASE(
    "Axial2D: alternating under ggml is two calls of its rope, the second of scaled frequencies") {
  for (const Index width : {64, 72}) {
    const double base = 10000;
    const auto halves = [&](float row, float column) {
      const float theta_scale = std::pow(1e4F, -2.0F / static_cast<float>(width / 2));
      const float freq_scale = std::pow(1e4F, -2.0F / static_cast<float>(width));
      std::vector<float> angles;
      for (float theta = row; std::ssize(angles) < width / 4; theta *= theta_scale)
        angles.push_back(theta);
      for (float theta = column; std::ssize(angles) < width / 2; theta *= theta_scale)
        angles.push_back(freq_scale * theta);
      return angles;
    };
    CHECK(worst_of_peer({.frequencies = AxialFrequencies::alternating}, width, base, Angles::ggml,
                        halves) <= 1e-7F);
  }
}

TEST_CASE("Axial2D: Hugging Face's float32 frequencies are those of each coordinate's own ladder") {
  for (const bool alternating : {false, true})
    for (const Index width : {64, 80}) {
      const auto product = [&](float row, float column) {
        std::vector<float> angles;
        for (Index i = 0; i < width / 2; ++i) {
          const Index j = i % (width / 4);
          // inv_freq = 1 / base ** (arange(0, dim, 2) / dim); dim is half of the head, or the head
          const float dim = static_cast<float>(alternating ? width : width / 2);
          const Index k = alternating ? 2 * j + i / (width / 4) : j;
          const float w = 1.0F / std::pow(1e4F, static_cast<float>(2 * k) / dim);
          angles.push_back((i < width / 4 ? row : column) * w);
        }
        return angles;
      };
      const Axial2D axial{.frequencies = alternating ? AxialFrequencies::alternating
                                                     : AxialFrequencies::per_axis};
      CHECK(worst_of_peer(axial, width, 10000, Angles::huggingface, product) <= 1e-7F);
    }
}

TEST_CASE("Axial2D: wrong parameters are sentences") {
  const auto refused = [](const RoPE<HalfSplit>& rope, const auto& axes, const char* why) {
    CHECK_THAT(complaint([&] { (void)bind(rope | axes); }), ContainsSubstring(why));
  };
  const RoPE<HalfSplit> rope{.head_dim = 64};
  refused({.head_dim = 6}, Axial2D{}, "rotary_dim must be a multiple of 4, got 6.");
  for (const double multiplier : {0.0, -1.0, HUGE_VAL, std::nan("")})
    refused(rope, Axial2D{.multiplier = multiplier}, "multiplier must be positive and finite, got");
  refused(rope, encoding(MRoPE{.sections = {8, 12, 12}}, Axial2D{}),
          "Axial2D: the pairs have coordinates already, 3 of them");
  refused(rope, encoding(Axial2D{}, MRoPE{.sections = {8, 12, 12}}),
          "MRoPE: the pairs have coordinates already, 2 of them");
}

}  // namespace axial_2d_cases
