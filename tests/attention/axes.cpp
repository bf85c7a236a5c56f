// SPDX-License-Identifier: MIT
//
// Attention over positions of several coordinates (MRoPE, Axial2D) and with magnitudes that grow
// (XPos): the reference against sums written out here and against rotate(), the kernel against the
// reference, and what is refused.
#include "../support/bind_any.hpp"
#include "../support/catch.hpp"
#include "../support/oracle.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/axial_2d.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/xpos.hpp>
#include <posenc/rotate/rotate.hpp>
#include <posenc/score/log_n.hpp>

namespace attention_test {
namespace axes_cases {

using Vec = std::vector<double>;

TensorView<const double> one_head(const Vec& x, Index width) {
  return {x.data(), std::ssize(x) / width, 1, width};
}

/// The score of one query and one key: the log-sum-exp of a row that sees one key.
template <class BoundT>
double score(const BoundT& bound, const Vec& q, const Positions& query, const Vec& k,
             const Positions& key) {
  const Index width = std::ssize(q);
  return reference_attention(one_head(q, width), one_head(k, width), one_head(k, width), bound,
                             {.query_offset = 0, .query_positions = query, .key_positions = key})
      .lse[0];
}

template <class F>
std::string complaint(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// Ids [axes][tokens] as a prompt has them: text, an image of 2 x `columns` patches, text.
std::vector<Position> prompt(int axes, Index tokens, Index columns) {
  std::vector<Position> ids(size(axes * tokens));
  const Index image = tokens / 4;
  Position next = 0;
  for (Index t = 0; t < tokens; ++t) {
    const Index patch = t - image;
    const bool seen = patch >= 0 && patch < 2 * columns;
    if (patch == 2 * columns) next += std::max<Index>(2, columns);
    for (int axis = 0; axis < axes; ++axis)
      ids[size(axis * tokens + t)] = next + (!seen              ? 0
                                             : axis == axes - 1 ? patch % columns
                                             : axis == axes - 2 ? patch / columns
                                                                : 0);
    if (!seen) ++next;
  }
  return ids;
}

/// The kernel against the reference in one number, at most 1; xPos rounds each magnitude once more.
template <class T, class BoundT>
double ratio(const BoundT& bound, Index queries, Index keys, const AttentionOptions<T>& options,
             Index value_dim = 0) {
  const Index width = bound.rotary().state.head_dim;
  const HeadShape& heads = bound.shape();
  Tensor<T> q(queries, heads.num_heads, width), k(keys, heads.num_kv_heads, width),
      v(keys, heads.num_kv_heads, value_dim == 0 ? width : value_dim);
  q.fill(Random(71)), k.fill(Random(72)), v.fill(Random(73));
  const Arguments<T> call{q, k, v, options};
  const Output<T> result = attend(call, bound);
  return worst_ratio<T>(result.out, result.lse,
                        reference_attention(call.q, call.k, call.v, bound, call.options),
                        error_bounds(call, bound), bound.rotary().state.growth.size() ? 1.2 : 1.0);
}

constexpr Index tokens = 100;
constexpr BindOptions grouped{.num_heads = 4, .num_kv_heads = 2};

/// Prefill, the last tokens alone, and queries or keys of text only.
template <class T, class E>
void check_kernel(const E& encoding, int axes) {
  const auto bound = posenc_test::bind_any(encoding, grouped);
  const std::vector<Position> ids = prompt(axes, tokens, 9);
  const Positions all(ids, axes);
  CHECK(ratio<T>(bound, tokens, tokens, {.query_positions = all, .key_positions = all}) <= 1);
  CHECK(ratio<T>(bound, 3, tokens,
                 {.query_positions = all.subspan(size(tokens - 3), 3), .key_positions = all}) <= 1);
  CHECK(ratio<T>(bound, 40, tokens, {.query_positions = Positions(60), .key_positions = all}) <= 1);
  CHECK(ratio<T>(bound, tokens, tokens, {.query_positions = all}) <= 1);
  CHECK(ratio<T>(bound, tokens, tokens, {}) <= 1);
}

TEST_CASE("reference: each pair turns by its own coordinate", "[attention][reference]") {
  // Pairs (0, 2) and (1, 3) of equal vectors: the score is cos(d0 w0) + cos(d1 w1).
  const Vec x = {1, 1, 0, 0};
  const auto bound = posenc_test::bind_any(
      RoPE<HalfSplit>{.head_dim = 4, .base = 100} | MRoPE{.sections = {1, 1}}, {.scale = 1.0});
  const std::vector<Position> query = {7, 20}, key = {2, 29};
  CHECK_THAT(score(bound, x, Positions(query, 2), x, Positions(key, 2)),
             WithinAbs(std::cos(5.0) + std::cos(-9 * 0.1), 1e-14));
  // A token of text has one position for both.
  CHECK_THAT(score(bound, x, Positions(10), x, Positions(key, 2)),
             WithinAbs(std::cos(8.0) + std::cos(-19 * 0.1), 1e-14));

  const auto columns_first = posenc_test::bind_any(
      RoPE<HalfSplit>{.head_dim = 4} | Axial2D{.first = ImageAxis::column, .multiplier = 2},
      {.scale = 1.0});
  CHECK_THAT(score(columns_first, x, Positions(query, 2), x, Positions(key, 2)),
             WithinAbs(std::cos(-18.0) + std::cos(10.0), 1e-14));
}

TEST_CASE("reference: a growing pair is damped by the distance", "[attention][reference]") {
  const Vec q = {1, 0, 0, 1}, k = {0.5, 0, 0, 1};  // interleaved pairs (0, 1) and (2, 3)
  const auto bound = posenc_test::bind_any(RoPE<Interleaved>{.head_dim = 4, .base = 100} |
                                               XPos{.scale_base = 8, .centre = 1000},
                                           {.scale = 1.0});
  const double zeta0 = 0.4 / 1.4, zeta1 = 0.9 / 1.4;
  for (const auto& [n, m] :
       {std::pair<Position, Position>{1003, 1001}, {990, 1001}, {1004, 1004}}) {
    const double d = static_cast<double>(n - m);
    CHECK_THAT(score(bound, q, Positions(n), k, Positions(m)),
               WithinRel(std::pow(zeta0, d / 8) * 0.5 * std::cos(d) +
                             std::pow(zeta1, d / 8) * std::cos(d * 0.1),
                         1e-13));
  }
}

TEST_CASE("reference: scores are those of rotated queries and keys", "[attention][reference]") {
  const Index width = 24;
  Random random(5);
  Vec q(size(width)), k(size(width));
  for (double& x : q) x = random.real(-1, 1);
  for (double& x : k) x = random.real(-1, 1);
  const auto check = [&](const auto& encoding, int axes) {
    const auto bound = posenc_test::bind_any(encoding, {.scale = 0.25});
    for (int round = 0; round < 20; ++round) {
      std::vector<Position> n(size(axes)), m(size(axes));
      for (Position& p : n) p = random.integer(-50, 400);
      for (Position& p : m) p = random.integer(-50, 400);
      Vec qr = q, kr = k;
      rotate(TensorView<double>(qr.data(), 1, 1, width), Positions(n, axes), bound,
             {.side = Side::query});
      rotate(TensorView<double>(kr.data(), 1, 1, width), Positions(m, axes), bound,
             {.side = Side::key});
      double dot = 0, magnitude = 0;
      for (std::size_t c = 0; c < q.size(); ++c)
        dot += qr[c] * kr[c], magnitude += std::abs(qr[c] * kr[c]);
      CHECK_THAT(score(bound, q, Positions(n, axes), k, Positions(m, axes)),
                 WithinAbs(0.25 * dot, 1e-12 * (1 + magnitude)));
    }
  };
  const RoPE<HalfSplit> rope{.head_dim = width};
  check(rope | MRoPE{.sections = {4, 4, 4}}, 3);
  check(rope | MRoPE{.sections = {4, 4, 4}, .interleaved = true}, 3);
  check(RoPE<Interleaved>{.head_dim = width, .rotary_dim = 16, .rotary_offset = 4} |
            YaRN{.factor = 4, .original_context = 64} | MRoPE{.sections = {2, 2, 2, 2}},
        4);
  check(rope | Axial2D{.frequencies = AxialFrequencies::alternating}, 2);
  check(rope | XPos{.scale_base = 100, .centre = 60}, 1);
  check(rope | MRoPE{.sections = {4, 4, 4}} | XPos{.scale_base = 100}, 3);
}

TEMPLATE_TEST_CASE("kernel equals reference: M-RoPE", "[attention]", float, double) {
  const RoPE<HalfSplit> rope{.head_dim = 64, .base = 1e6};
  const MRoPE chunked{.sections = {8, 12, 12}},
      in_turns{.sections = {12, 10, 10}, .interleaved = true};
  check_kernel<TestType>(rope | chunked | Causal{}, 3);
  check_kernel<TestType>(rope | in_turns | ALiBi{} | Causal{}, 3);
  check_kernel<TestType>(rope | YaRN{.factor = 4, .original_context = 32} | in_turns |
                             SlidingWindow::from_token_count(70),
                         3);
  check_kernel<TestType>(RoPE<Interleaved>::partial(80, 0.4) | MRoPE{.sections = {4, 4, 4, 4}} |
                             LogN{.base_length = 30} | Causal{},
                         4);
  check_kernel<TestType>(rope | chunked | RotateValues{} | Causal{}, 3);
  check_kernel<TestType>(rope | DynamicNTK{.original_context = 64} | chunked | Causal{}, 3);
  // More pairs than are rotated at once.
  check_kernel<TestType>(RoPE<HalfSplit>{.head_dim = 320} | MRoPE{.sections = {60, 60, 40}}, 3);
}

TEMPLATE_TEST_CASE("kernel equals reference: axial, both ways", "[attention]", float, double) {
  check_kernel<TestType>(encoding(RoPE<HalfSplit>{.head_dim = 80}, Axial2D{}), 2);
  check_kernel<TestType>(RoPE<Interleaved>{.head_dim = 88} | Axial2D{.first = ImageAxis::column},
                         2);
  check_kernel<TestType>(
      RoPE<HalfSplit>{.head_dim = 64} | Axial2D{.frequencies = AxialFrequencies::alternating}, 2);
}

TEMPLATE_TEST_CASE("kernel equals reference: xPos", "[attention]", float, double) {
  const RoPE<Interleaved> rope{.head_dim = 64};
  for (const Position centre : {Position{0}, Position{75}, Position{-400}}) {
    const XPos xpos{.scale_base = 64, .centre = centre};
    const auto causal = posenc_test::bind_any(rope | xpos | Causal{}, grouped);
    CHECK(ratio<TestType>(causal, tokens, tokens, {}) <= 1);
    CHECK(ratio<TestType>(causal, 1, tokens, {}) <= 1);
    CHECK(ratio<TestType>(posenc_test::bind_any(rope | xpos | RotateValues{} | Causal{}, grouped),
                          tokens, tokens, {}) <= 1);
    CHECK(ratio<TestType>(posenc_test::bind_any(rope | YaRN{.factor = 4, .original_context = 64} |
                                                    xpos | Causal{},
                                                grouped),
                          tokens, tokens, {}, 16) <= 1);
  }
  const auto distant = posenc_test::bind_any(rope | XPos{.centre = 1'000'000} | Causal{}, grouped);
  CHECK(ratio<TestType>(distant, 40, 150, {.key_offset = 980'000}) <= 1);
  CHECK(ratio<TestType>(distant, 40, 150, {.key_offset = 1'030'000}) <= 1);
}

TEST_CASE("kernel: the bound notices a coordinate that is off by one", "[attention]") {
  const MRoPE in_turns{.sections = {12, 10, 10}, .interleaved = true};  // fast pairs on every axis
  const auto bound =
      posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 64} | in_turns | Causal{}, grouped);
  std::vector<Position> ids = prompt(3, tokens, 9);
  Tensor<float> q(tokens, 4, 64), k(tokens, 2, 64), v(tokens, 2, 64);
  q.fill(Random(1)), k.fill(Random(2)), v.fill(Random(3));
  Arguments<float> call{
      q, k, v, {.query_positions = Positions(ids, 3), .key_positions = Positions(ids, 3)}};
  const ReferenceResult expected = reference_attention(call.q, call.k, call.v, bound, call.options);
  const std::vector<RowBound> bounds = error_bounds(call, bound);
  for (const int axis : {0, 1, 2}) {
    std::vector<Position> other = ids;
    for (Index t = 0; t < tokens; ++t) ++other[size(axis * tokens + t)];
    call.options.query_positions = Positions(other, 3);
    const Output<float> result = attend(call, bound);
    CHECK(worst_ratio<float>(result.out, result.lse, expected, bounds) > 1000);
  }
}

TEST_CASE("kernel: keys rotated beforehand, with their coordinates or magnitudes", "[attention]") {
  const auto check = [](const auto& encoding, int axes) {
    const auto bound = posenc_test::bind_any(encoding, grouped);
    const std::vector<Position> ids = prompt(axes, tokens, 9);
    const Positions all(ids, axes);
    Tensor<double> q(tokens, 4, 64), k(tokens, 2, 64), v(tokens, 2, 64);
    q.fill(Random(1)), k.fill(Random(2)), v.fill(Random(3));
    const Arguments<double> call{q, k, v, {.query_positions = all, .key_positions = all}};
    const Output<double> raw = attend(call, bound);
    Output<double> rotated(call);
    rotate(k.view(), all, bound, {.attention_factor = false, .side = Side::key});
    attention(call.q, RotatedKeys<double>{k.view()}, call.v, rotated.out.view(), bound,
              {.query_positions = all, .key_positions = all, .lse = rotated.lse});
    double worst = 0;
    for (Index t = 0; t < tokens; ++t)
      for (Index h = 0; h < 4; ++h)
        for (Index c = 0; c < 64; ++c)
          worst = std::max(worst, std::abs(raw.out.view()(t, h, c) - rotated.out.view()(t, h, c)));
    CHECK(worst < 1e-12);
  };
  const RoPE<HalfSplit> rope{.head_dim = 64};
  check(rope | MRoPE{.sections = {8, 12, 12}} | Causal{}, 3);
  check(rope | YaRN{.factor = 4, .original_context = 64} | MRoPE{.sections = {8, 12, 12}}, 3);
  check(rope | XPos{.scale_base = 64, .centre = 75} | Causal{}, 1);
}

TEST_CASE("kernel: biases, masks and temperatures go by the first coordinate", "[attention]") {
  // Coordinates of no rotary pair matter to nothing else.
  const auto bound =
      posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 64} | MRoPE{.sections = {32, 0, 0}} |
                                LogN{.base_length = 10} | ALiBi{} | Causal{},
                            grouped);
  std::vector<Position> ids = prompt(3, tokens, 9), other = ids;
  for (Index t = 0; t < 2 * tokens; ++t) other[size(tokens + t)] = (7 * t) % 31;
  Tensor<float> q(tokens, 4, 64), k(tokens, 2, 64), v(tokens, 2, 64);
  q.fill(Random(1)), k.fill(Random(2)), v.fill(Random(3));
  const Positions here(ids, 3), there(other, 3),
      first(std::span<const Position>(ids).first(size(tokens)));
  const auto row = [&](const Positions& p) {
    return attend(Arguments<float>{q, k, v, {.query_positions = p, .key_positions = p}}, bound).lse;
  };
  CHECK(row(here) == row(there));
  CHECK(row(here) == row(first));
}

TEST_CASE("positions that do not fit the encoding are refused", "[attention]") {
  const RoPE<HalfSplit> rope{.head_dim = 8};
  const std::vector<float> x(4 * 8, 1);
  std::vector<float> y(4 * 8);
  const TensorView<const float> in(x.data(), 4, 1, 8);
  const std::vector<Position> ids(12, 1);
  const std::vector<double> real_ids(4, 0.5);
  const auto says = [&](const auto& encoding, const AttentionOptions<float>& options,
                        const std::string& why) {
    const auto bound = posenc_test::bind_any(encoding);
    for (const std::string& got :
         {complaint(
              [&] { attention(in, in, in, TensorView<float>(y.data(), 4, 1, 8), bound, options); }),
          complaint([&] { (void)reference_attention(in, in, in, bound, options); })})
      CHECK_THAT(got, ContainsSubstring(why));
  };
  const Positions three(ids, 3), two(std::span<const Position>(ids).first(8), 2), real(real_ids);
  const auto mrope = rope | MRoPE{.sections = {2, 1, 1}};
  const std::string but = " coordinates, but the encoding turns by ";
  says(mrope, {.query_positions = two}, "queries: got positions of 2" + but + "3.");
  says(mrope, {.key_positions = two}, "keys: got positions of 2" + but + "3.");
  says(encoding(rope), {.key_positions = three}, "keys: got positions of 3" + but + "1.");
  says(encoding(Causal{}), {.query_positions = three}, "queries: got positions of 3" + but + "1.");
  says(mrope, {.query_positions = Positions(std::span<const Position>(ids).first(9), 3)},
       "queries: got 9 position ids for 4 tokens of 3 coordinates each.");
  says(mrope, {.key_positions = real}, "keys: attention takes whole positions, got real ones");
  says(rope | XPos{.centre = 100'000}, {},
       "queries: position 0 is more than 32695 tokens from the centre 100000");
  says(rope | XPos{.centre = 10}, {.key_positions = Positions(40'000)},
       "keys: position 40000 is more than 32695 tokens from the centre 10");
}

TEST_CASE("distance maps are refused with coordinates and with growth", "[attention]") {
  const RoPE<HalfSplit> rope{.head_dim = 8};
  CHECK_THAT(complaint([&] {
               (void)posenc_test::bind_any(rope | MRoPE{.sections = {2, 1, 1}} |
                                           ReRoPE{.window = 4});
             }),
             ContainsSubstring("positions of this encoding have 3 coordinates"));
  CHECK_THAT(
      complaint([&] { (void)posenc_test::bind_any(rope | ReRoPE{.window = 4} | Axial2D{}); }),
      ContainsSubstring("positions of this encoding have 2 coordinates"));
  CHECK_THAT(
      complaint([&] { (void)posenc_test::bind_any(rope | XPos{} | ReRoPE{.window = 4}); }),
      ContainsSubstring("cannot be combined with magnitudes that grow with position (XPos)"));
}

/// A transform of a user that leaves a state which nothing can run with.
template <class F>
struct Spoiled {
  F spoil;
  void transform(RotaryState& state) const { spoil(state); }
};

TEST_CASE("bind: what a transform leaves has to fit", "[attention]") {
  const auto says = [](auto spoil, const char* why) {
    CHECK_THAT(complaint([&] {
                 (void)posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 8} |
                                             Spoiled<decltype(spoil)>{spoil});
               }),
               ContainsSubstring(why));
  };
  says([](RotaryState& s) { s.axes = 2; }, "a coordinate for 0 of 4 rotary pairs");
  says([](RotaryState& s) { s.axes = 5, s.axis.assign(4, 0); },
       "positions of 5 coordinates, but 1 to 4");
  says([](RotaryState& s) { s.axes = 0; }, "positions of 0 coordinates, but 1 to 4");
  says([](RotaryState& s) { s.axes = 2, s.axis = {0, 1, 1}; },
       "a coordinate for 3 of 4 rotary pairs");
  says([](RotaryState& s) { s.axes = 2, s.axis = {0, 1, 2, 0}; },
       "a pair that turns by coordinate 2 of positions that have 2");
  says([](RotaryState& s) { s.axes = 2, s.axis = {0, 1, -1, 0}; }, "turns by coordinate -1");
  says([](RotaryState& s) { s.ladder = {0, 2, 0}; },
       "a pair of the ladder for 3 of 4 rotary pairs");
  says([](RotaryState& s) { s.ladder = {0, 2, 0, 4}; }, "pair 4 of a ladder of 4 rotary pairs");
  says([](RotaryState& s) { s.ladder = {0, 2, 0, -1}; }, "pair -1 of a ladder of 4 rotary pairs");
  says([](RotaryState& s) { s.growth = Frequencies::Zero(3); }, "a growth for 3 of 4 rotary pairs");
  says([](RotaryState& s) { s.growth = Frequencies::Constant(4, HUGE_VAL); },
       "a growth of magnitudes that is not finite");
  says([](RotaryState& s) { s.centre = greatest_position + 1; }, "the centre of growth must lie");
}

}  // namespace axes_cases
}  // namespace attention_test
