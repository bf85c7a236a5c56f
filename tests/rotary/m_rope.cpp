// SPDX-License-Identifier: MIT
#include <posenc/rotary/m_rope.hpp>

#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/yarn.hpp>

#include "axes.hpp"

using namespace axes_test;

namespace m_rope_cases {

std::vector<int> axis_map(const MRoPE& axes, Index pairs) {
  std::vector<int> map;
  for (Index i = 0; i < pairs; ++i) map.push_back(axes.axis(i));
  return map;
}

std::vector<int> runs(std::initializer_list<int> sections) {
  std::vector<int> map;
  int axis = 0;
  for (const int pairs : sections) map.insert(map.end(), size(pairs), axis++);
  return map;
}

/// The rule of the model's code, spelt as it is there: time everywhere, then height and width on
/// slices of stride three.
std::vector<int> slices(Index pairs, Index height, Index width) {
  std::vector<int> map(size(pairs), 0);
  for (Index i = 1; i < std::min(3 * height, pairs); i += 3) map[size(i)] = 1;
  for (Index i = 2; i < std::min(3 * width, pairs); i += 3) map[size(i)] = 2;
  return map;
}

template <class T, class LayoutT>
void matches_formula(const RoPE<LayoutT>& rope, const MRoPE& axes, Position low, Position high) {
  const Index tokens = 9;
  const auto bound = bind(rope | axes);
  const int coordinates = axes.sections.axes();
  const std::vector<Position> ids = random_ids(coordinates, tokens, low, high, 7);
  const std::vector<T> x = noise<T>(tokens * 2 * rope.head_dim, 3);
  const auto angle = [&](auto&& coordinate) {
    return [&, coordinate](Index i, Index t) {
      return Turned{coordinate(axes.axis(i), t) *
                    ladder(static_cast<Real>(rope.base), rope.rotated_channels(), i)};
    };
  };
  const Positions positions(ids, coordinates);
  CHECK(worst_ratio(x, rotated(x, tokens, positions, bound), tokens, bound.rotary(),
                    angle([&](int axis, Index t) {
                      return static_cast<Real>(positions.at(axis, t));
                    })) <= 1);

  std::vector<double> real_ids(ids.begin(), ids.end());
  for (std::size_t i = 0; i < real_ids.size(); i += 2) real_ids[i] += 0.375;
  const Positions real(real_ids, coordinates);
  CHECK(worst_ratio(
            x, rotated(x, tokens, real, bound), tokens, bound.rotary(),
            angle([&](int axis, Index t) { return static_cast<Real>(real.real(axis, t)); })) <= 1);
}

TEST_CASE("MRoPE: chunked sections, one after the other") {
  CHECK(axis_map({.sections = {16, 24, 24}}, 64) == runs({16, 24, 24}));
  CHECK(axis_map({.sections = {8, 12, 12}}, 32) == runs({8, 12, 12}));
  CHECK(axis_map({.sections = {16, 16, 16, 16}}, 64) == runs({16, 16, 16, 16}));
  CHECK(axis_map({.sections = {20, 12}}, 32) == runs({20, 12}));
  CHECK(axis_map({.sections = {0, 5, 0, 3}}, 8) == runs({0, 5, 0, 3}));
  CHECK(axis_map({.sections = {8, 0, 0}}, 8) == runs({8}));
}

TEST_CASE("MRoPE: interleaved sections take turns") {
  std::vector<int> expected;
  for (int i = 0; i < 64; ++i) expected.push_back(i < 60 ? i % 3 : 0);
  CHECK(axis_map({.sections = {24, 20, 20}, .interleaved = true}, 64) == expected);
  expected.clear();
  for (int i = 0; i < 32; ++i) expected.push_back(i % 3);
  CHECK(axis_map({.sections = {11, 11, 10}, .interleaved = true}, 32) == expected);

  for (const Index pairs : {8, 16, 24, 32, 48, 64, 128})
    for (const Index height : {Index{0}, pairs / 8, pairs / 4, pairs / 3})
      for (const Index width : {Index{0}, pairs / 8, pairs / 3}) {
        const MRoPE axes{.sections = {pairs - height - width, height, width}, .interleaved = true};
        const std::vector<int> map = axis_map(axes, pairs);
        CHECK(map == slices(pairs, height, width));
        CHECK(std::count(map.begin(), map.end(), 1) == height);
        CHECK(std::count(map.begin(), map.end(), 2) == width);
      }
}

TEST_CASE("MRoPE: a constant expression") {
  constexpr MRoPE axes{.sections = {16, 24, 24}};
  STATIC_REQUIRE(axes.axis(15) == 0);
  STATIC_REQUIRE(axes.axis(16) == 1);
  STATIC_REQUIRE(axes.axis(63) == 2);
  STATIC_REQUIRE(axes.sections.axes() == 3);
  STATIC_REQUIRE(axes == MRoPE{.sections = {16, 24, 24}});
  STATIC_REQUIRE(!(axes == MRoPE{.sections = {16, 24, 24, 0}}));
}

TEST_CASE("MRoPE: the state says which coordinate turns a pair, and keeps its frequencies") {
  const RoPE<HalfSplit> rope{.head_dim = 128, .base = 1e6};
  const YaRN yarn{.factor = 4, .original_context = 32768};
  const MRoPE axes{.sections = {16, 24, 24}};
  const RotaryState plain = bind(rope | yarn).rotary().state;
  for (const RotaryState& state :
       {bind(rope | yarn | axes).rotary().state, bind(rope | axes | yarn).rotary().state}) {
    CHECK(state.axes == 3);
    CHECK(state.axis == runs({16, 24, 24}));
    CHECK((state.inv_freq == plain.inv_freq).all());
    CHECK(state.attention_factor == plain.attention_factor);
  }
}

TEMPLATE_TEST_CASE("MRoPE: rotation against the formula", "", float, double) {
  const RoPE<HalfSplit> qwen{.head_dim = 128, .base = 1e6};
  const MRoPE in_turns{.sections = {24, 20, 20}, .interleaved = true};
  for (const auto& [low, high] : {std::pair<Position, Position>{0, 40}, {0, 262144}, {-5000, 70}}) {
    matches_formula<TestType>(qwen, {.sections = {16, 24, 24}}, low, high);
    matches_formula<TestType>(qwen, in_turns, low, high);
  }
  matches_formula<TestType>(RoPE<Interleaved>::partial(128, 0.5), {.sections = {8, 12, 12}}, 0, 99);
  matches_formula<TestType>(
      RoPE<HalfSplit>{.head_dim = 80, .base = 1e7, .rotary_dim = 64, .rotary_offset = 9},
      {.sections = {11, 11, 10}, .interleaved = true}, 0, 4096);
  matches_formula<TestType>(RoPE<Interleaved>{.head_dim = 32}, {.sections = {4, 4, 4, 4}}, 0, 500);
  // Wide heads: coordinates change within each of the pieces that are rotated at once.
  matches_formula<TestType>(RoPE<HalfSplit>{.head_dim = 512}, {.sections = {100, 100, 56}}, 0,
                            4096);
}

TEST_CASE("MRoPE: equal coordinates are plain RoPE, to the last bit") {
  const Index tokens = 50, width = 64;
  const RoPE<HalfSplit> rope{.head_dim = width};
  const auto plain = bind(rope);
  std::vector<Position> once, thrice;
  for (Position p = 0; p < tokens; ++p) once.push_back(p * p * p % 9973 - 20);
  for (int axis = 0; axis < 3; ++axis) thrice.insert(thrice.end(), once.begin(), once.end());
  const std::vector<float> x = noise<float>(tokens * 2 * width, 5);
  const std::vector<float> expected = rotated(x, tokens, once, plain);
  for (const MRoPE& axes : {MRoPE{.sections = {8, 12, 12}}, MRoPE{.sections = {1, 0, 31}},
                            MRoPE{.sections = {12, 10, 10}, .interleaved = true}}) {
    const auto bound = bind(rope | axes);
    CHECK(rotated(x, tokens, Positions(thrice, 3), bound) == expected);
    CHECK(rotated(x, tokens, once, bound) == expected);
    CHECK(rotated(x, tokens, 1000, bound) == rotated(x, tokens, 1000, plain));
  }
}

TEST_CASE("MRoPE: text after images goes on as plain RoPE, whatever came before") {
  // The same token alone and behind others at unequal coordinates: nothing is remembered wrongly.
  const Index tokens = 40, width = 64;
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | MRoPE{.sections = {8, 12, 12}});
  std::vector<Position> ids = random_ids(3, tokens, 0, 70, 11);
  for (Index t = 0; t < tokens; t += 3)
    ids[size(tokens + t)] = ids[size(2 * tokens + t)] = ids[size(t)];
  const Positions all(ids, 3);
  const std::vector<float> x = noise<float>(tokens * width, 12);
  const std::vector<float> y = rotated(x, tokens, all, bound);
  for (Index t = 0; t < tokens; ++t) {
    const auto row = [&](const std::vector<float>& v) {
      return std::vector<float>(v.begin() + t * width, v.begin() + (t + 1) * width);
    };
    CHECK(rotated(row(x), 1, all.subspan(size(t), 1), bound) == row(y));
  }
}

TEST_CASE("MRoPE: all pairs by one coordinate are plain RoPE on it") {
  const Index tokens = 20, width = 64;
  const RoPE<Interleaved> rope{.head_dim = width};
  const std::vector<Position> ids = random_ids(3, tokens, 0, 5000, 2);
  const std::vector<double> x = noise<double>(tokens * width, 1);
  const Positions all(ids, 3);
  for (const int axis : {0, 1, 2}) {
    std::vector<Index> sections(3, 0);
    sections[size(axis)] = 32;
    const MRoPE axes{.sections = MRoPE::Sections(std::span<const Index>(sections))};
    const std::vector<Position> one(ids.begin() + axis * tokens, ids.begin() + (axis + 1) * tokens);
    CHECK(rotated(x, tokens, all, bind(rope | axes)) == rotated(x, tokens, one, bind(rope)));
  }
}

TEST_CASE("MRoPE: lengths are kept, products depend on the difference in each coordinate") {
  const Index tokens = 30, width = 128;
  for (const MRoPE& axes :
       {MRoPE{.sections = {16, 24, 24}}, MRoPE{.sections = {24, 20, 20}, .interleaved = true}}) {
    const auto bound = bind(RoPE<HalfSplit>{.head_dim = width, .base = 1e6} | axes);
    const std::vector<Position> ids = random_ids(3, tokens, 0, 2000, 21);
    std::vector<Position> moved = ids;
    for (int axis = 0; axis < 3; ++axis)
      for (Index t = 0; t < tokens; ++t)
        moved[size(axis * tokens + t)] += std::array<Position, 3>{4000, -77, 1}[size(axis)];
    const std::vector<double> x = noise<double>(tokens * width, 22);
    const std::vector<double> y = rotated(x, tokens, Positions(ids, 3), bound),
                              z = rotated(x, tokens, Positions(moved, 3), bound);
    const auto row = [&](const std::vector<double>& v, Index t) {
      return std::vector<double>(v.begin() + t * width, v.begin() + (t + 1) * width);
    };
    double farthest = 0;
    for (Index t = 0; t < tokens; ++t) {
      CHECK_THAT(dot(row(y, t), row(y, t)), WithinRel(dot(row(x, t), row(x, t)), 1e-13));
      for (Index u = 0; u < tokens; ++u) {
        CHECK_THAT(dot(row(z, t), row(z, u)), WithinAbs(dot(row(y, t), row(y, u)), 1e-9));
        farthest =
            std::max(farthest, std::abs(dot(row(y, t), row(y, u)) - dot(row(x, t), row(x, u))));
      }
    }
    CHECK(farthest > 1);  // they do depend on it
    CHECK(worst_difference(unrotated(y, tokens, Positions(ids, 3), bound), x) < 1e-12);
  }
}

TEST_CASE("MRoPE: schemes that depend on the length see the greatest coordinate") {
  const Index width = 32;
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} |
                          DynamicNTK{.original_context = 64, .form = DynamicNTKForm::paper} |
                          MRoPE{.sections = {4, 6, 6}});
  const std::vector<Position> ids{0, 1, 2, 3, 199, 5};  // two tokens
  const std::vector<float> x = noise<float>(2 * width, 4);
  CHECK(rotated(x, 2, Positions(ids, 3), bound) ==
        rotated(x, 2, Positions(ids, 3), bound.at_length(200)));
  CHECK(rotated(x, 2, Positions(ids, 3), bound) !=
        rotated(x, 2, Positions(ids, 3), bound.at_length(64)));
}

TEST_CASE("MRoPE: wrong sections are sentences") {
  const RoPE<HalfSplit> rope{.head_dim = 128};
  const auto refused = [&](const MRoPE& axes, const char* why) {
    CHECK_THAT(complaint([&] { (void)bind(rope | axes); }), ContainsSubstring(why));
  };
  refused({.sections = {16, 24, 25}}, "sections must sum to the 64 rotary pairs, got 65.");
  refused({.sections = {16, 24}}, "sections must sum to the 64 rotary pairs, got 40.");
  refused({.sections = {}}, "sections are 2 to 4 numbers of pairs, one per coordinate, got 0");
  refused({.sections = {64}}, "sections are 2 to 4 numbers of pairs, one per coordinate, got 1");
  refused({.sections = {16, 16, 16, 8, 8}},
          "sections are 2 to 4 numbers of pairs, one per coordinate, got 5");
  refused({.sections = {32, 32}, .interleaved = true}, "interleaved sections are 3 numbers");
  refused({.sections = {-1, 40, 25}},
          "a section must lie within [0, 64], the rotary pairs, got -1");
  refused({.sections = {65, 0, 0}}, "a section must lie within [0, 64], the rotary pairs, got 65");
  refused({.sections = {20, 22, 22}, .interleaved = true},
          "coordinate 1 takes every third pair, which 21 of 64 are, so it cannot have 22.");
  refused({.sections = {22, 20, 22}, .interleaved = true},
          "coordinate 2 takes every third pair, which 21 of 64 are, so it cannot have 22.");
  CHECK_THAT(complaint([&] {
               (void)bind(rope | MRoPE{.sections = {32, 32}} | MRoPE{.sections = {32, 32}});
             }),
             ContainsSubstring("the pairs have coordinates already, 2 of them"));
}

TEST_CASE("MRoPE: positions of another number of coordinates are refused") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 8} | MRoPE{.sections = {2, 1, 1}});
  const std::vector<Position> ids(8, 1);
  const std::vector<float> x(32, 1);
  CHECK_THAT(complaint([&] { (void)rotated(x, 4, Positions(ids, 2), bound); }),
             ContainsSubstring("positions of 2 coordinates, but the encoding has 3"));
  CHECK_THAT(complaint([&] {
               (void)rotated(x, 4, Positions(ids, 2), bind(RoPE<HalfSplit>{.head_dim = 8}));
             }),
             ContainsSubstring("positions of 2 coordinates, but the encoding has 1"));
}

}  // namespace m_rope_cases
