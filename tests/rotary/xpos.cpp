// SPDX-License-Identifier: MIT
#include <posenc/rotary/xpos.hpp>

#include <posenc/frequency/yarn.hpp>

#include "../support/levels.hpp"
#include "axes.hpp"

using namespace axes_test;

namespace xpos_cases {

const RotateOptions as_query{.side = Side::query};
const RotateOptions as_key{.side = Side::key};

Real zeta(Index width, Index i) {
  return (2 * static_cast<Real>(i) / static_cast<Real>(width) + 0.4L) / 1.4L;
}

/// <q at n, k at m> under the encoding, channels of one head.
template <class BoundT>
double score(const BoundT& bound, const std::vector<double>& q, Position n,
             const std::vector<double>& k, Position m) {
  return dot(rotated(q, 1, n, bound, as_query), rotated(k, 1, m, bound, as_key));
}

TEST_CASE("XPos: growth of magnitudes, published numbers") {
  const RotaryState state = bind(RoPE<Interleaved>{.head_dim = 128} | XPos{}).rotary().state;
  REQUIRE(state.growth.size() == 64);
  const auto of = [&](Index i) { return std::exp(512 * state.growth[i]); };
  CHECK_THAT(of(0), WithinAbs(0.285714286, 5e-10));
  CHECK_THAT(of(1), WithinAbs(0.296875, 1e-14));
  CHECK_THAT(of(63), WithinAbs(0.988839286, 5e-10));
  for (Index i = 0; i < 64; ++i)
    CHECK_THAT(of(i), WithinRel(static_cast<double>(zeta(128, i)), 1e-13));
  CHECK(state.centre == 0);
  CHECK((state.inv_freq == geometric_frequencies(10000, 128)).all());
}

TEMPLATE_TEST_CASE("XPos: rotation against the formula, queries, keys and back", "", float,
                   double) {
  const Index tokens = 12, width = 64;
  const Position centre = 1000;
  const auto bound =
      bind(RoPE<Interleaved>{.head_dim = 80, .rotary_dim = width, .rotary_offset = 8} |
           XPos{.scale_base = 256, .centre = centre});
  std::vector<Position> ids = random_ids(1, tokens, 0, 2000, 41);
  ids[0] = centre;
  const std::vector<TestType> x = noise<TestType>(tokens * 2 * 80, 42);
  for (const Side side : {Side::query, Side::key}) {
    const RotateOptions options{.side = side};
    const std::vector<TestType> y = rotated(x, tokens, ids, bound, options);
    CHECK(worst_ratio(x, y, tokens, bound.rotary(), [&](Index i, Index t) {
            const auto n = static_cast<Real>(ids[size(t)]);
            const Real power = (n - static_cast<Real>(centre)) / 256;
            return Turned{n * ladder(10000, width, i),
                          std::pow(zeta(width, i), side == Side::query ? power : -power)};
          }) <= 1);
    CHECK(worst_difference(unrotated(y, tokens, ids, bound, options), x) <
          (std::is_same_v<TestType, float> ? 2e-6 : 1e-12));
  }
}

TEMPLATE_TEST_CASE("XPos: a sequence is its tokens, to the last bit, and the formula", "", float,
                   double) {
  // Across the digits of the tables and both ways past the centre, in more than one piece of pairs.
  const Index tokens = 110, width = 288;
  const Position centre = 50;
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | XPos{.centre = centre});
  const std::vector<TestType> x = noise<TestType>(tokens * width, 45);
  posenc_test::at_every_level([&] {
    for (const RotateOptions& options : {as_query, as_key})
      for (const Position start : {-90, 0, 700}) {
        CAPTURE(start);
        const std::vector<TestType> together = rotated(x, tokens, start, bound, options);
        const std::vector<TestType> back = unrotated(x, tokens, start, bound, options);
        std::vector<TestType> alone, alone_back, fractional;
        for (Index t = 0; t < tokens; ++t) {
          const std::vector<TestType> token(x.begin() + t * width, x.begin() + (t + 1) * width);
          const std::vector<double> real{static_cast<double>(start + t)};
          for (const auto& [part, all] :
               {std::pair{rotated(token, 1, start + t, bound, options), &alone},
                {unrotated(token, 1, start + t, bound, options), &alone_back},
                {rotated(token, 1, real, bound, options), &fractional}})
            all->insert(all->end(), part.begin(), part.end());
        }
        CHECK(together == alone);
        CHECK(together == fractional);
        CHECK(back == alone_back);
        CHECK(worst_ratio(x, together, tokens, bound.rotary(), [&](Index i, Index t) {
                const Real distance = static_cast<Real>(start + t - centre) / 512;
                return Turned{static_cast<Real>(start + t) * ladder(10000, width, i),
                              std::pow(zeta(width, i),
                                       options.side == Side::query ? distance : -distance)};
              }) <= 1);
      }
  });
}

TEST_CASE("XPos: between the integers") {
  const Index width = 32;
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | XPos{.scale_base = 64});
  const std::vector<double> x = noise<double>(5 * width, 46);
  const std::vector<double> positions{0.5, 31.5, 32.25, -0.75, 1000.125};
  const std::vector<double> y = rotated(x, 5, positions, bound, as_key);
  CHECK(worst_ratio(x, y, 5, bound.rotary(), [&](Index i, Index t) {
          const Real n = positions[size(t)];
          return Turned{n * ladder(10000, width, i), std::pow(zeta(width, i), -n / 64)};
        }) <= 1);
}

TEST_CASE("XPos: queries and keys in one call, each by its own magnitudes") {
  const Index tokens = 9, width = 32;
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | XPos{.scale_base = 64, .centre = 4});
  const std::vector<float> q = noise<float>(tokens * 4 * width, 43),
                           k = noise<float>(tokens * 2 * width, 44);
  std::vector<float> both_q = q, both_k = k;
  const TensorView<float> view_q(both_q.data(), tokens, 4, width),
      view_k(both_k.data(), tokens, 2, width);
  rotate(view_q, view_k, 0, bound);
  CHECK(both_q == rotated(q, tokens, 0, bound, as_query));
  CHECK(both_k == rotated(k, tokens, 0, bound, as_key));
  CHECK(both_q != rotated(q, tokens, 0, bound, as_key));
  unrotate(view_q, view_k, 0, bound);
  CHECK(worst_difference(both_q, q) < 1e-6);
  CHECK(worst_difference(both_k, k) < 1e-6);
}

TEST_CASE("XPos: scores are RoPE's, each pair damped by its own zeta^(distance / B)") {
  const Index width = 16;
  const RoPE<Interleaved> rope{.head_dim = width};
  const auto bound = bind(rope | XPos{.scale_base = 32, .centre = 77});
  const auto plain = bind(rope);
  for (Index i = 0; i < width / 2; ++i) {
    std::vector<double> q(size(width), 0), k = q;
    q[size(2 * i)] = k[size(2 * i)] = 1;
    for (const auto& [n, m] : {std::pair<Position, Position>{5, 5}, {100, 3}, {40, 90}, {0, 200}})
      CHECK_THAT(score(bound, q, n, k, m),
                 WithinRel(score(plain, q, n, k, m) * std::pow(static_cast<double>(zeta(width, i)),
                                                               static_cast<double>(n - m) / 32),
                           1e-10));
  }
}

TEST_CASE("XPos: the centre and a shift of all positions leave scores alone") {
  const Index width = 64;
  const RoPE<HalfSplit> rope{.head_dim = width};
  const std::vector<double> q = noise<double>(width, 51), k = noise<double>(width, 52);
  const auto at_zero = bind(rope | XPos{});
  for (const auto& [n, m] : {std::pair<Position, Position>{300, 20}, {20, 300}, {1500, 1499}}) {
    const double expected = score(at_zero, q, n, k, m);
    for (const Position centre : {-500, 150, 4000})
      CHECK_THAT(score(bind(rope | XPos{.centre = centre}), q, n, k, m),
                 WithinAbs(expected, 1e-11));
    for (const Position shift : {-700, 1, 3000})
      CHECK_THAT(score(at_zero, q, n + shift, k, m + shift), WithinAbs(expected, 1e-10));
  }
}

TEST_CASE("XPos: a larger base decays less, and none at all is RoPE") {
  const Index width = 64;
  const RoPE<HalfSplit> rope{.head_dim = width};
  const std::vector<double> q = noise<double>(width, 61), k = noise<double>(width, 62);
  const double plain = score(bind(rope), q, 900, k, 100);
  double previous = HUGE_VAL;
  for (const double scale_base : {1e3, 1e4, 1e5, 1e6, 1e9}) {
    const double off =
        std::abs(score(bind(rope | XPos{.scale_base = scale_base}), q, 900, k, 100) - plain);
    CHECK(off < previous);
    previous = off;
  }
  CHECK(previous < 1e-5);
}

TEST_CASE("XPos: swapping the sides turns decay into growth") {
  const Index width = 64;
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | XPos{});
  // Equal to their own image: all scores at equal angles are positive, so magnitudes decide.
  const std::vector<double> ones(size(width), 1);
  const auto magnitude = [&](const RotateOptions& options, Position n) {
    const std::vector<double> y = rotated(ones, 1, n, bound, options);
    return dot(y, y) / static_cast<double>(width);
  };
  CHECK(magnitude(as_query, 512) < 0.6);
  CHECK(magnitude(as_query, -512) > 1.7);
  CHECK(magnitude(as_key, 512) > 1.7);
  CHECK(magnitude(as_key, -512) < 0.6);
  CHECK_THAT(magnitude(as_query, 700), WithinRel(magnitude(as_key, -700), 1e-12));
  CHECK_THAT(magnitude(as_query, 0), WithinRel(1.0, 1e-15));
}

TEST_CASE("XPos: a rotation without a side is refused") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 8} | XPos{});
  const std::vector<float> x(8, 1);
  for (const std::string& why : {complaint([&] { (void)rotated(x, 1, 0, bound); }),
                                 complaint([&] { (void)unrotated(x, 1, 0, bound); })})
    CHECK_THAT(why, ContainsSubstring("say which this is with RotateOptions::side"));
}

TEST_CASE("XPos: within reach numbers are finite, beyond it positions are refused") {
  for (const double scale_base : {16.0, 512.0, 8192.0})
    for (const Position centre : {Position{0}, Position{100000}}) {
      const XPos xpos{.scale_base = scale_base, .centre = centre};
      const auto bound = bind(RoPE<HalfSplit>{.head_dim = 64} | xpos);
      const auto reach = static_cast<Position>(xpos.reach());
      const std::vector<float> x(64, 1000);
      for (const Position n : {centre - reach, centre + reach})
        for (const RotateOptions& options : {as_query, as_key}) {
          const std::vector<float> y = rotated(x, 1, n, bound, options);
          CHECK(std::all_of(y.begin(), y.end(), [](float v) { return std::isfinite(v); }));
          const std::vector<float> back = unrotated(y, 1, n, bound, options);
          CHECK(worst_difference(back, x) < 0.01);
        }
      for (const Position n : {centre - reach - 1, centre + reach + 1}) {
        const std::string why = complaint([&] { (void)rotated(x, 1, n, bound, as_key); });
        CHECK_THAT(why, ContainsSubstring("position " + std::to_string(n)));
        CHECK_THAT(why, ContainsSubstring("more than " + std::to_string(reach) +
                                          " tokens from the centre " + std::to_string(centre)));
      }
    }
  // A float would end here, with nothing left for the numbers that are multiplied.
  CHECK(XPos{}.reach() < 36260);
  CHECK(XPos{}.reach() > 32000);
}

TEST_CASE("XPos: with a frequency scheme, before it or after") {
  const RoPE<HalfSplit> rope{.head_dim = 64};
  const YaRN yarn{.factor = 4, .original_context = 4096};
  const Frequencies growth = bind(rope | XPos{}).rotary().state.growth;
  for (const RotaryState& state :
       {bind(rope | yarn | XPos{}).rotary().state, bind(rope | XPos{} | yarn).rotary().state}) {
    CHECK((state.growth == growth).all());
    CHECK((state.inv_freq == bind(rope | yarn).rotary().state.inv_freq).all());
  }
}

TEST_CASE("XPos: wrong parameters are sentences") {
  const auto refused = [](const auto& part, const char* why) {
    CHECK_THAT(complaint([&] { (void)bind(RoPE<HalfSplit>{.head_dim = 64} | part); }),
               ContainsSubstring(why));
  };
  for (const double bad : {0.0, -1.0, HUGE_VAL, std::nan("")}) {
    refused(XPos{.scale_base = bad}, "scale_base must be positive and finite, got");
    refused(XPos{.gamma = bad}, "gamma must be positive and finite, got");
  }
  refused(XPos{.centre = greatest_position + 1},
          "centre must lie within +-2^52, got 4503599627370497");
  refused(encoding(XPos{}, XPos{}), "keep one XPos");
}

}  // namespace xpos_cases
