// SPDX-License-Identifier: MIT
//
// rotate and unrotate against the formula in long double.
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/frequency_table.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotate/rotate.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <string>
#include <type_traits>
#include <vector>

using namespace posenc;
using posenc_test::noise;

namespace apply_cases {

using Real = long double;

/// Channels of pair i, written out: (2i, 2i + 1) or (i, i + d/2).
std::pair<Index, Index> pair_of(bool interleaved, Index i, Index dim) {
  return interleaved ? std::pair{2 * i, 2 * i + 1} : std::pair{i, i + dim / 2};
}

struct Block {
  bool interleaved = false;
  Index dim = 0, offset = 0;
  double base = 10000;
  double amplitude = 1;
};

/// One head, rotated at a position.
template <class T>
std::vector<Real> oracle(const std::vector<T>& x, const Block& block, Real position) {
  std::vector<Real> y(x.begin(), x.end());
  for (Index i = 0; i < block.dim / 2; ++i) {
    const Real w = std::pow(static_cast<Real>(block.base),
                            -2 * static_cast<Real>(i) / static_cast<Real>(block.dim));
    const Real c = std::cos(position * w), s = std::sin(position * w);
    const auto channels = pair_of(block.interleaved, i, block.dim);
    const auto a = static_cast<std::size_t>(block.offset + channels.first);
    const auto b = static_cast<std::size_t>(block.offset + channels.second);
    y[a] = static_cast<Real>(block.amplitude) *
           (static_cast<Real>(x[a]) * c - static_cast<Real>(x[b]) * s);
    y[b] = static_cast<Real>(block.amplitude) *
           (static_cast<Real>(x[a]) * s + static_cast<Real>(x[b]) * c);
  }
  return y;
}

template <class T>
std::vector<std::remove_const_t<T>> head_of(const TensorView<T>& view, Index token, Index head) {
  std::vector<std::remove_const_t<T>> values;
  for (Index c = 0; c < view.width; ++c) values.push_back(view(token, head, c));
  return values;
}

template <class T>
T worst_difference(const std::vector<T>& a, const std::vector<T>& b) {
  T worst = a.size() == b.size() ? T{0} : T{1e30F};
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

/// Entries lie in [-1, 1], so a channel is two products of at most 1 each. float: cosine and sine are within
/// 3.5e-8, two products and a sum round by 2^-24 of at most 2. double: the angle is rounded.
template <class T>
Real bound(Real position, double amplitude) {
  const Real of_one = std::is_same_v<T, float> ? 2 * 3.5e-8L + 4 * 0x1p-24L
                                               : (8 * std::abs(position) + 64) * 0x1p-53L;
  return of_one * static_cast<Real>(std::max(1.0, 2 * amplitude));
}

template <class T, class LayoutT>
void matches_oracle(Index head_dim, Index dim, Index offset, double amplitude,
                    const std::vector<Position>& ids) {
  const Index heads = 3, tokens = std::ssize(ids);
  const Block block{std::is_same_v<LayoutT, Interleaved>, dim, offset, 500'000, amplitude};
  FrequencyTable table{.attention_factor = amplitude};
  const Frequencies geometric = geometric_frequencies(block.base, dim);
  table.inv_freq.assign(geometric.begin(), geometric.end());
  const auto bound_encoding = bind(
      RoPE<LayoutT>{
          .head_dim = head_dim, .base = block.base, .rotary_dim = dim, .rotary_offset = offset} |
      table);

  const std::vector<T> x = noise<T>(tokens * heads * head_dim, 1);
  std::vector<T> out(x.size(), T{99}), in_place = x, back = x, unitary = x;
  const TensorView<const T> input(x.data(), tokens, heads, head_dim);
  const TensorView<T> output(out.data(), tokens, heads, head_dim);
  rotate(input, output, ids, bound_encoding);
  rotate(TensorView<T>(in_place.data(), tokens, heads, head_dim), ids, bound_encoding);
  CHECK(out == in_place);

  Real excess = 0;
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h) {
      const auto position = static_cast<Real>(ids[static_cast<std::size_t>(t)]);
      const std::vector<Real> expected = oracle(head_of(input, t, h), block, position);
      for (Index c = 0; c < head_dim; ++c)
        excess = std::max(excess, std::abs(static_cast<Real>(output(t, h, c)) -
                                           expected[static_cast<std::size_t>(c)]) /
                                      bound<T>(position, amplitude));
    }
  CHECK(excess <= 1);

  // Unitary without the factor, and undone with either.
  const T small = std::is_same_v<T, float> ? static_cast<T>(1e-6) : static_cast<T>(1e-14);
  unrotate(TensorView<const T>(output), TensorView<T>(back.data(), tokens, heads, head_dim), ids,
           bound_encoding);
  CHECK(worst_difference(back, x) <= small);
  unrotate(output, ids, bound_encoding);
  CHECK(out == back);
  const TensorView<T> plain(unitary.data(), tokens, heads, head_dim);
  rotate(plain, ids, bound_encoding, {.attention_factor = false});
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h) {
      Real before = 0, after = 0;
      for (Index c = 0; c < head_dim; ++c) {
        before += static_cast<Real>(input(t, h, c)) * static_cast<Real>(input(t, h, c));
        after += static_cast<Real>(plain(t, h, c)) * static_cast<Real>(plain(t, h, c));
      }
      CHECK_THAT(static_cast<double>(after / before),
                 WithinAbs(1, std::is_same_v<T, float> ? 1e-6 : 1e-14));
    }
  unrotate(plain, ids, bound_encoding, {.attention_factor = false});
  CHECK(worst_difference(unitary, x) <= small);
}

TEST_CASE("rotate: the formula, both layouts, whole, partial and offset blocks") {
  const std::vector<Position> ids{0, 1, -1, 4095, 131071, 1 << 23, 5};
  const auto check = [&]<class T>(T) {
    for (const double amplitude : {1.0, 1.3465735902799727})
      for (const auto& [head_dim, dim, offset] : std::vector<std::array<Index, 3>>{{64, 64, 0},
                                                                                   {2, 2, 0},
                                                                                   {6, 4, 0},
                                                                                   {96, 24, 0},
                                                                                   {80, 16, 64},
                                                                                   {17, 6, 5},
                                                                                   {512, 512, 0},
                                                                                   {600, 516, 3}}) {
        INFO("head_dim " << head_dim << ", rotary_dim " << dim << ", offset " << offset
                         << ", factor " << amplitude);
        matches_oracle<T, HalfSplit>(head_dim, dim, offset, amplitude, ids);
        matches_oracle<T, Interleaved>(head_dim, dim, offset, amplitude, ids);
      }
  };
  check(float{});
  check(double{});
}

TEST_CASE("rotate: a pair by hand") {
  std::vector<double> x{3, 4};
  rotate(TensorView<double>(x.data(), 1, 1, 2), 2,
         RoPE<HalfSplit>{.head_dim = 2} | PI{.factor = 4});
  CHECK_THAT(x[0], WithinAbs(3 * std::cos(0.5) - 4 * std::sin(0.5), 1e-15));
  CHECK_THAT(x[1], WithinAbs(3 * std::sin(0.5) + 4 * std::cos(0.5), 1e-15));
}

TEST_CASE("rotate: every stride gives the numbers of contiguous memory") {
  constexpr Index tokens = 5, heads = 3, width = 12;
  const auto encoding =
      bind(RoPE<Interleaved>{.head_dim = width, .rotary_dim = 8, .rotary_offset = 2});
  const std::vector<float> x = noise<float>(tokens * heads * width, 2);
  std::vector<float> expected = x;
  rotate(TensorView<float>(expected.data(), tokens, heads, width), 100, encoding);

  const std::vector<TensorView<float>> shapes{
      TensorView<float>::head_major(nullptr, heads, tokens, width),
      {nullptr, tokens, heads, width, heads * width * 2, width * 2, 2},
      {nullptr, tokens, heads, width, 1, tokens, tokens * heads},
      {nullptr, tokens, heads, width, -heads * width, -width, -1},
      {nullptr, tokens, heads, width, 100, -width, 1},
  };
  for (const TensorView<float>& in_shape : shapes)
    for (const TensorView<float>& out_shape : shapes) {
      std::vector<float> a(2000, 7), b(2000, 8);
      TensorView<float> in = in_shape, out = out_shape;
      in.data = a.data() + 1000;
      out.data = b.data() + 1000;
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < heads; ++h)
          for (Index c = 0; c < width; ++c)
            in(t, h, c) = x[static_cast<std::size_t>((t * heads + h) * width + c)];
      const std::vector<float> before = a;
      rotate(TensorView<const float>(in), out, 100, encoding);
      CHECK(a == before);
      rotate(in, 100, encoding);
      bool same = true;
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < heads; ++h)
          for (Index c = 0; c < width; ++c) {
            const float e = expected[static_cast<std::size_t>((t * heads + h) * width + c)];
            same = same && in(t, h, c) == e && out(t, h, c) == e;
          }
      CHECK(same);
      // Nothing else was written.
      CHECK(std::count(b.begin(), b.end(), 8.0F) == 2000 - tokens * heads * width);
    }
}

TEST_CASE("rotate: real position ids, and integer ids in any order") {
  const auto encoding = bind(RoPE<HalfSplit>{.head_dim = 8});
  const std::vector<double> x = noise<double>(4 * 8, 3);
  const std::vector<double> reals{0.5, -2.25, 7, 100.125};
  std::vector<double> y(x.size());
  rotate(TensorView<const double>(x.data(), 4, 1, 8), TensorView<double>(y.data(), 4, 1, 8), reals,
         encoding);
  for (std::size_t t = 0; t < 4; ++t) {
    const std::vector<double> head(x.begin() + static_cast<std::ptrdiff_t>(8 * t),
                                   x.begin() + static_cast<std::ptrdiff_t>(8 * t + 8));
    const auto expected = oracle(head, {.dim = 8}, static_cast<Real>(reals[t]));
    for (std::size_t c = 0; c < 8; ++c)
      CHECK_THAT(y[8 * t + c], WithinAbs(static_cast<double>(expected[c]), 1e-13));
  }

  // Ids 0, 1, 2, ... are an offset of 0; equal ids rotate equal heads equally.
  const std::vector<Position> counted{0, 1, 2, 3}, same{9, 9, 9, 9};
  std::vector<double> a = x, b = x;
  rotate(TensorView<double>(a.data(), 4, 1, 8), counted, encoding);
  rotate(TensorView<double>(b.data(), 4, 1, 8), 0, encoding);
  CHECK(a == b);
  std::vector<double> c(4 * 8, 0.25);
  rotate(TensorView<double>(c.data(), 4, 1, 8), same, encoding);
  CHECK(std::equal(c.begin(), c.begin() + 8, c.begin() + 24));
}

TEST_CASE("rotate: position zero and frequencies of zero change nothing, to the bit") {
  FrequencyTable table{.inv_freq = {1, 0.5, 0, 0}};
  const auto encoding = bind(RoPE<HalfSplit>{.head_dim = 8} | table);
  const std::vector<float> x = noise<float>(8, 4);
  std::vector<float> y = x;
  const TensorView<float> view(y.data(), 1, 1, 8);
  rotate(view, 0, encoding);
  CHECK(y == x);
  rotate(view, 131071, encoding);
  for (const std::size_t c : {2U, 3U, 6U, 7U}) CHECK(y[c] == x[c]);
  for (const std::size_t c : {0U, 1U, 4U, 5U}) CHECK(y[c] != x[c]);
}

TEST_CASE("rotate: R_a R_b = R_(a+b), and back by the negative position") {
  const auto encoding = bind(RoPE<Interleaved>{.head_dim = 32});
  const std::vector<double> x = noise<double>(32, 5);
  for (const auto& [a, b] : std::vector<std::pair<Position, Position>>{{1, 2},
                                                                       {100, -30},
                                                                       {4095, 1},
                                                                       {100'000, 31'071},
                                                                       {-7, -9},
                                                                       {1 << 20, 1 << 20},
                                                                       {3, -3}}) {
    std::vector<double> twice = x, once = x;
    rotate(TensorView<double>(twice.data(), 1, 1, 32), a, encoding);
    rotate(TensorView<double>(twice.data(), 1, 1, 32), b, encoding);
    rotate(TensorView<double>(once.data(), 1, 1, 32), a + b, encoding);
    INFO(a << " and " << b);
    CHECK(worst_difference(twice, once) <=
          1e-14 + 1e-15 * static_cast<double>(std::abs(a) + std::abs(b)));
  }
}

TEST_CASE("rotate: the two layouts are permutations of each other, to the bit") {
  for (const Index dim : {2, 6, 64, 96}) {
    const Index head_dim = dim + 4;
    const std::vector<float> interleaved = noise<float>(head_dim, 6);
    std::vector<float> half = interleaved, inverse = interleaved;
    for (Index c = 0; c < dim; ++c)
      half[static_cast<std::size_t>(c)] =
          interleaved[static_cast<std::size_t>(interleaved_channel(c, dim))];
    for (Index i = 0; i < dim / 2; ++i) {  // as the specification writes it
      CHECK(half[static_cast<std::size_t>(i)] == interleaved[static_cast<std::size_t>(2 * i)]);
      CHECK(half[static_cast<std::size_t>(i + dim / 2)] ==
            interleaved[static_cast<std::size_t>(2 * i + 1)]);
    }
    for (Index c = 0; c < dim; ++c)
      inverse[static_cast<std::size_t>(c)] =
          half[static_cast<std::size_t>(half_split_channel(c, dim))];
    CHECK(inverse == interleaved);

    std::vector<float> a = interleaved, b = half;
    rotate(TensorView<float>(a.data(), 1, 1, head_dim), 777,
           bind(RoPE<Interleaved>{.head_dim = head_dim, .rotary_dim = dim}));
    rotate(TensorView<float>(b.data(), 1, 1, head_dim), 777,
           bind(RoPE<HalfSplit>{.head_dim = head_dim, .rotary_dim = dim}));
    bool same = true;
    for (Index c = 0; c < head_dim; ++c)
      same = same && b[static_cast<std::size_t>(c)] ==
                         a[static_cast<std::size_t>(c < dim ? interleaved_channel(c, dim) : c)];
    CHECK(same);
  }
}

TEST_CASE("rotate: logits depend on the distance alone, and by its sign") {
  constexpr Index dim = 64;
  const auto encoding = bind(RoPE<HalfSplit>{.head_dim = dim, .base = 500'000});
  const std::vector<float> q = noise<float>(dim, 7), k = noise<float>(dim, 8);
  const auto logit = [&](Position n, Position m) {
    std::vector<float> a = q, b = k;
    rotate(TensorView<float>(a.data(), 1, 1, dim), n, encoding);
    rotate(TensorView<float>(b.data(), 1, 1, dim), m, encoding);
    double sum = 0;
    for (std::size_t c = 0; c < dim; ++c)
      sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    return sum;
  };
  // q_n . k_m = q^T R_(m-n) k
  const std::vector<Real> turned = oracle(k, {.dim = dim, .base = 500'000}, -37);
  Real expected = 0;
  for (std::size_t c = 0; c < dim; ++c) expected += static_cast<Real>(q[c]) * turned[c];
  for (const Position shift : {0, 1, 1000, 131072, 1 << 20, 1 << 24, -50}) {
    INFO("shift " << shift);
    CHECK_THAT(logit(37 + shift, shift), WithinAbs(static_cast<double>(expected), 5e-6));
  }
  CHECK(std::abs(logit(0, 37) - static_cast<double>(expected)) > 1e-3);
}

TEST_CASE("rotate: frequencies that depend on the length") {
  constexpr Index dim = 16;
  const auto dynamic = RoPE<HalfSplit>{.head_dim = dim} |
                       DynamicNTK{.original_context = 64, .form = DynamicNTKForm::paper};
  const std::vector<double> x = noise<double>(3 * dim, 9);
  const auto rotated = [&](const auto& encoding, const Positions& positions) {
    std::vector<double> y = x;
    rotate(TensorView<double>(y.data(), 3, 1, dim), positions, encoding);
    return y;
  };
  const auto expected = [&](Position first, Position length) {
    const double m = std::max(1.0, static_cast<double>(length) / 64);
    const Block block{.dim = dim,
                      .base = 10000 * std::pow(m, static_cast<double>(dim) / (dim - 2))};
    std::vector<double> y;
    for (Index t = 0; t < 3; ++t) {
      const std::vector<double> head(x.begin() + t * dim, x.begin() + (t + 1) * dim);
      for (const Real v : oracle(head, block, static_cast<Real>(first + t)))
        y.push_back(static_cast<double>(v));
    }
    return y;
  };
  CHECK(worst_difference(rotated(bind(dynamic), 10), expected(10, 13)) < 1e-12);
  CHECK(worst_difference(rotated(bind(dynamic), 61), expected(61, 64)) < 1e-12);
  CHECK(worst_difference(rotated(bind(dynamic), 254), expected(254, 257)) < 1e-12);
  CHECK(worst_difference(rotated(dynamic, 254), expected(254, 257)) < 1e-12);
  CHECK(worst_difference(rotated(bind(dynamic, {.length = 512}), 10), expected(10, 512)) < 1e-12);
  CHECK(worst_difference(rotated(bind(dynamic, {.length = 512}).at_length(257), 254),
                         expected(254, 257)) < 1e-12);
  CHECK(worst_difference(rotated(bind(dynamic), -500), expected(-500, 0)) < 1e-12);
  const std::vector<double> reals{3, 300.5, 7};
  std::vector<double> y = x;
  rotate(TensorView<double>(y.data(), 3, 1, dim), reals, bind(dynamic));
  const auto second = oracle(std::vector<double>(x.begin() + dim, x.begin() + 2 * dim),
                             {.dim = dim, .base = 10000 * std::pow(301.0 / 64, 16.0 / 14)}, 300.5L);
  for (std::size_t c = 0; c < dim; ++c)
    CHECK_THAT(y[dim + c], WithinAbs(static_cast<double>(second[c]), 1e-12));
}

TEST_CASE("rotate: nothing to rotate") {
  const auto encoding = bind(RoPE<HalfSplit>{.head_dim = 8});
  CHECK_NOTHROW(rotate(TensorView<float>(nullptr, 0, 4, 8), 0, encoding));
  CHECK_NOTHROW(rotate(TensorView<float>(nullptr, 4, 0, 8), 0, encoding));
  CHECK_NOTHROW(rotate(TensorView<const float>(nullptr, 0, 4, 8),
                       TensorView<float>(nullptr, 0, 4, 8), 0, encoding));
}

TEST_CASE("rotate: what does not fit is refused in a sentence") {
  const auto encoding = bind(RoPE<HalfSplit>{.head_dim = 8});
  std::vector<float> memory(200), other(200);
  const TensorView<float> x(memory.data(), 4, 2, 8);
  const TensorView<float> y(other.data(), 4, 2, 8);

  CHECK_THROWS_WITH(rotate(TensorView<float>(memory.data(), 4, 2, 6), 0, encoding),
                    "posenc::rotate: the encoding rotates heads of 8 channels, but these have 6.");
  CHECK_THROWS_WITH(rotate(TensorView<const float>(x), TensorView<float>(other.data(), 4, 1, 8), 0,
                           encoding),
                    ContainsSubstring("must have the same shape, got [4, 2, 8] and [4, 1, 8]"));
  CHECK_THROWS_WITH(rotate(TensorView<const float>(x.slice(0, 3)), x.slice(1, 3), 0, encoding),
                    ContainsSubstring("in place) or must not overlap"));
  CHECK_NOTHROW(rotate(TensorView<const float>(x.slice(0, 2)), x.slice(2, 2), 0, encoding));

  const std::vector<Position> three{1, 2, 3};
  CHECK_THROWS_WITH(rotate(x, three, encoding),
                    ContainsSubstring("tokens: got 3 position ids for 4 tokens."));
  const std::vector<double> bad{0, 1, std::nan(""), 3};
  CHECK_THROWS_WITH(rotate(x, bad, encoding),
                    ContainsSubstring("positions must lie within +-2^52, got nan"));
  const std::vector<double> infinite{0, 1, std::numeric_limits<double>::infinity(), 3};
  CHECK_THROWS_AS(rotate(x, infinite, encoding), Error);
  CHECK_THROWS_AS(rotate(x, greatest_position, encoding), Error);
  CHECK_THROWS_WITH(unrotate(x, three, encoding), StartsWith("posenc::unrotate: "));

  try {
    rotate(TensorView<const float>(TensorView<float>(memory.data(), 3, 2, 6)),
           TensorView<float>(memory.data() + 1, 4, 2, 6), three, encoding);
    FAIL("must throw");
  } catch (const Error& error) {
    CHECK(error.problems().size() >= 3);  // shape, width and overlap, all at once
  }
  CHECK(memory == std::vector<float>(200));
}

TEST_CASE("rotate: heads that share memory cannot be rotated in place") {
  // Each head would be rotated again.
  const auto encoding = bind(RoPE<HalfSplit>{.head_dim = 8});
  std::vector<float> memory = noise<float>(4 * 8, 1);
  CHECK_THROWS_AS(rotate(TensorView<float>(memory.data(), 4, 3, 8, 8, 0), 5, encoding), Error);
}

#if __has_include(<nlohmann/json.hpp>)

/// Greatest difference to the golden q_rotated and k_rotated, in units of what the position allows.
template <class LayoutT, class Tolerance>
double golden_excess(const nlohmann::json& entry, Angles angles, Tolerance tolerance) {
  const auto inv_freq = entry.at("inv_freq").get<std::vector<float>>();
  FrequencyTable table{.inv_freq = {inv_freq.begin(), inv_freq.end()},
                       .attention_factor = entry.at("attention_factor")};
  const Index head_dim = entry.at("head_dim"), dim = entry.at("rotary_dim");
  const auto encoding =
      bind(RoPE<LayoutT>{.head_dim = head_dim, .rotary_dim = dim} | table, {.angles = angles});
  const auto positions = entry.at("positions").get<std::vector<Position>>();
  double worst = 0;
  for (const std::string name : {"q", "k"}) {
    auto x = entry.at(name).get<std::vector<float>>();
    const auto expected = entry.at(name + "_rotated").get<std::vector<float>>();
    REQUIRE(x.size() == expected.size());
    const Index heads = entry.at("heads_" + name);
    const TensorView<float> view(x.data(), std::ssize(positions), heads, head_dim);
    rotate(view, positions, encoding);
    const bool permuted = entry.at("layout") == "interleaved_in_half_split_out";
    for (Index t = 0; t < view.tokens; ++t)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < head_dim; ++c) {
          const Index from = permuted && c < dim ? interleaved_channel(c, dim) : c;
          const float e = expected[static_cast<std::size_t>((t * heads + h) * head_dim + c)];
          worst = std::max(worst, static_cast<double>(std::abs(view(t, h, from) - e)) /
                                      tolerance(positions[static_cast<std::size_t>(t)]));
        }
  }
  return worst;
}

template <class Tolerance>
double golden_excess_any(const nlohmann::json& entry, Angles angles, Tolerance tolerance) {
  return entry.at("layout") == "half_split" ? golden_excess<HalfSplit>(entry, angles, tolerance)
                                            : golden_excess<Interleaved>(entry, angles, tolerance);
}

TEST_CASE("golden: queries and keys of the reference models") {
  std::ifstream stream(POSENC_GOLDEN_DIR "/rope_rotated.json");
  REQUIRE(stream);
  const nlohmann::json file = nlohmann::json::parse(stream);
  int compared = 0;
  for (const char* list : {"cases", "extra_cases"})
    for (const auto& entry : file.at(list)) {
      INFO(entry.at("name").get<std::string>());
      const double amplitude = entry.at("attention_factor");
      // Entries are at most 2. The reference rounds its angle to float, so the tolerance grows with position.
      CHECK(golden_excess_any(entry, Angles::exact, [&](Position p) {
              return amplitude * (2.5e-6 + 4 * static_cast<double>(p) * 0x1p-24);
            }) <= 1);
      CHECK(golden_excess_any(entry, Angles::huggingface,
                              [&](Position) { return amplitude * 2.5e-6; }) <= 1);
      ++compared;
    }
  CHECK(compared >= 35);
}

#endif

TEST_CASE("rotate: memory that is missing is refused") {
  const auto encoding = bind(RoPE<HalfSplit>{.head_dim = 8});
  CHECK_THROWS_WITH(rotate(TensorView<float>(nullptr, 4, 2, 8), 0, encoding),
                    ContainsSubstring("null"));
}

}  // namespace apply_cases
