// SPDX-License-Identifier: MIT
//
// The reference itself, against closed forms and against sums written out here: two or three tokens, a
// handful of channels, every number computed by hand or by rotating both vectors.
#include "../support/catch.hpp"

#include <posenc/attention/reference.hpp>
#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/frequency_table.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/score/log_n.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>

#include <array>
#include <cmath>
#include <complex>

using namespace posenc;

namespace reference_cases {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double close = 1e-14;

using Vec = std::vector<double>;

TensorView<const double> one_head(const Vec& x, Index width) {
  return {x.data(), static_cast<Index>(x.size()) / width, 1, width};
}

/// x (of two channels) rotated forward by an angle, through complex numbers.
std::array<double, 2> turned(double x0, double x1, double angle) {
  const std::complex<double> y = std::complex<double>(x0, x1) * std::polar(1.0, angle);
  return {y.real(), y.imag()};
}

/// ln of the ratio of the weights of two keys: the difference of their scores, seen from outside.
/// Values are the unit vectors, so the output is the weights.
double score_difference(const ReferenceResult& result, std::size_t a, std::size_t b) {
  return std::log(result.out[a] / result.out[b]);
}

const Vec unit_values_2 = {1, 0, 0, 1};
const Vec unit_values_3 = {1, 0, 0, 0, 1, 0, 0, 0, 1};

TEST_CASE("reference: two keys without any encoding", "[attention][reference]") {
  const Vec q = {1.0, 2.0}, k = {0.5, -1.0, 0.25, 0.75}, v = {1, 10, 2, 20};
  const auto bound = bind(encoding(ALiBi{.slope_factor = 0}), {.scale = 0.5});
  const ReferenceResult result =
      reference_attention(one_head(q, 2), one_head(k, 2), one_head(v, 2), bound);
  const double x0 = 0.5 * (1.0 * 0.5 - 2.0 * 1.0), x1 = 0.5 * (1.0 * 0.25 + 2.0 * 0.75);
  const double p0 = std::exp(x0) / (std::exp(x0) + std::exp(x1)), p1 = 1 - p0;
  CHECK_THAT(result.out[0], WithinAbs(p0 * 1 + p1 * 2, close));
  CHECK_THAT(result.out[1], WithinAbs(p0 * 10 + p1 * 20, 10 * close));
  CHECK_THAT(result.lse[0], WithinAbs(std::log(std::exp(x0) + std::exp(x1)), close));
}

TEST_CASE("reference: the default scale is 1 / sqrt(head_dim)", "[attention][reference]") {
  const Vec q = {3.0, 0, 0, 0}, k = {1.0, 0, 0, 0, 0, 0, 0, 0};
  const auto bound = bind(encoding(ALiBi{.slope_factor = 0}));
  const ReferenceResult result =
      reference_attention(one_head(q, 4), one_head(k, 4), one_head(unit_values_2, 2), bound);
  CHECK_THAT(score_difference(result, 0, 1), WithinAbs(3.0 / 2, close));
}

TEST_CASE("reference: scores are those of queries and keys rotated at their positions",
          "[attention][reference]") {
  // Queries (1, 0) and keys (0, 1): q rotated at n and k at m have the product -sin(m - n) = sin(n - m).
  const Vec q = {1, 0}, k = {0, 1, 0, 1, 0, 1};
  const auto bound = bind(encoding(RoPE<HalfSplit>{.head_dim = 2}), {.scale = 1.0});
  const ReferenceResult result = reference_attention(
      one_head(q, 2), one_head(k, 2), one_head(unit_values_3, 3), bound, {.query_offset = 5});
  CHECK_THAT(score_difference(result, 0, 1), WithinAbs(std::sin(5.0) - std::sin(4.0), close));
  CHECK_THAT(score_difference(result, 2, 1), WithinAbs(std::sin(3.0) - std::sin(4.0), close));

  // Any vectors: rotate both and take the dot product.
  const Vec q2 = {0.3, -1.2}, k2 = {0.7, 0.4, -0.2, 1.1};
  const ReferenceResult general =
      reference_attention(one_head(q2, 2), one_head(k2, 2), one_head(unit_values_2, 2), bound,
                          {.query_offset = 9, .key_offset = 2});
  const auto turned_q = turned(q2[0], q2[1], 9);
  std::array<double, 2> x{};
  for (std::size_t c = 0; c < 2; ++c) {
    const auto turned_k = turned(k2[2 * c], k2[2 * c + 1], 2 + static_cast<double>(c));
    x[c] = turned_q[0] * turned_k[0] + turned_q[1] * turned_k[1];
  }
  CHECK_THAT(score_difference(general, 0, 1), WithinAbs(x[0] - x[1], close));
  CHECK_THAT(general.lse[0], WithinAbs(std::log(std::exp(x[0]) + std::exp(x[1])), close));
}

/// Score of one pair under a rotary encoding, from the definition: rotate channel pairs of both vectors.
template <class LayoutT>
double rotated_score(const Vec& q, const Vec& k, double n, double m, Index offset,
                     const Vec& inv_freq, double factor) {
  Vec a = q, b = k;
  const auto pairs = static_cast<Index>(inv_freq.size());
  for (Index i = 0; i < pairs; ++i) {
    // Spelled out, so that the layouts are not asked: (i, i + pairs) or (2i, 2i + 1).
    const bool half = std::is_same_v<LayoutT, HalfSplit>;
    const auto first = static_cast<std::size_t>(offset + (half ? i : 2 * i));
    const auto second = static_cast<std::size_t>(offset + (half ? i + pairs : 2 * i + 1));
    const double w = inv_freq[static_cast<std::size_t>(i)];
    const auto turned_q = turned(q[first], q[second], n * w),
               turned_k = turned(k[first], k[second], m * w);
    a[first] = factor * turned_q[0], a[second] = factor * turned_q[1];
    b[first] = factor * turned_k[0], b[second] = factor * turned_k[1];
  }
  double sum = 0;
  for (std::size_t d = 0; d < q.size(); ++d) sum += a[d] * b[d];
  return sum;
}

TEMPLATE_TEST_CASE("reference: partial rotary with an attention factor", "[attention][reference]",
                   HalfSplit, Interleaved) {
  // Seven channels, four of them rotated from channel 2 on. The factor belongs to those four alone.
  const Vec q = {0.5, -0.25, 1.0, 0.75, -0.5, 0.125, 2.0};
  const Vec k = {1.0, 0.5, -0.75, 0.25, 1.5, -1.0, 0.375, 0.25, -1.0, 0.5, 0.5, -0.25, 0.75, 1.0};
  const Vec inv_freq = {0.9, 0.1};
  const double factor = 1.25;
  const auto bound = bind(RoPE<TestType>{.head_dim = 7, .rotary_dim = 4, .rotary_offset = 2} |
                              FrequencyTable{.inv_freq = inv_freq, .attention_factor = factor},
                          {.scale = 0.7});
  const ReferenceResult result =
      reference_attention(one_head(q, 7), one_head(k, 7), one_head(unit_values_2, 2), bound,
                          {.query_offset = 30, .key_offset = 11});
  const double x0 =
      0.7 * rotated_score<TestType>(q, {k.begin(), k.begin() + 7}, 30, 11, 2, inv_freq, factor);
  const double x1 =
      0.7 * rotated_score<TestType>(q, {k.begin() + 7, k.end()}, 30, 12, 2, inv_freq, factor);
  CHECK_THAT(score_difference(result, 0, 1), WithinAbs(x0 - x1, close));
  CHECK_THAT(result.lse[0], WithinAbs(std::log(std::exp(x0) + std::exp(x1)), close));
}

TEST_CASE("reference: a distance map replaces the distance, in both directions",
          "[attention][reference]") {
  const Vec q = {1, 0}, k = {0, 1, 0, 1, 0, 1};
  const auto bound = bind(RoPE<Interleaved>{.head_dim = 2} | ReRoPE{.window = 2}, {.scale = 1.0});
  const std::array<Position, 3> keys = {0, 99, 201};  // distances 100, 1, -101 become 2, 1, -2
  const std::array<Position, 1> query = {100};
  const ReferenceResult result =
      reference_attention(one_head(q, 2), one_head(k, 2), one_head(unit_values_3, 3), bound,
                          {.query_positions = query, .key_positions = keys});
  CHECK_THAT(score_difference(result, 0, 1), WithinAbs(std::sin(2.0) - std::sin(1.0), close));
  CHECK_THAT(score_difference(result, 2, 1), WithinAbs(std::sin(-2.0) - std::sin(1.0), close));
}

TEST_CASE("reference: a single value arrives rotated by key minus query",
          "[attention][reference]") {
  // One key has weight 1 whatever its score, so the output is R_(m-n) v; the attention factor has no part.
  const Vec q = {1, 2, 3, 4}, k = {4, 3, 2, 1}, v = {1.0, 0.5, -2.0, 0.25, 7.0};
  const auto bound =
      bind(RoPE<Interleaved>{.head_dim = 4} |
           FrequencyTable{.inv_freq = {1.0, 0.3}, .attention_factor = 1.5} | RotateValues{});
  const ReferenceResult result = reference_attention(one_head(q, 4), one_head(k, 4), one_head(v, 5),
                                                     bound, {.query_offset = 10, .key_offset = 3});
  const auto first = turned(v[0], v[1], 1.0 * (3 - 10)),
             second = turned(v[2], v[3], 0.3 * (3 - 10));
  const Vec expected = {first[0], first[1], second[0], second[1], 7.0};
  for (std::size_t d = 0; d < 5; ++d) CHECK_THAT(result.out[d], WithinAbs(expected[d], close));
}

TEST_CASE("reference: biases and maps act in the order written, on the scaled score",
          "[attention][reference]") {
  const Vec q = {2.0}, k = {3.0, 0.0};  // scores 6 * scale and 0
  const auto difference = [&](const auto& encoding) {
    const ReferenceResult result =
        reference_attention(one_head(q, 1), one_head(k, 1), one_head(unit_values_2, 2),
                            bind(encoding, {.scale = 0.5}), {.query_offset = 4});
    return score_difference(result, 0, 1);
  };
  const auto capped = [](double x) { return 2 * std::tanh(x / 2); };
  // One head: the slope is 2^-8. Distances 4 and 3.
  CHECK_THAT(difference(ALiBi{} | Causal{}), WithinAbs(3.0 - 1.0 / 256, close));
  CHECK_THAT(difference(ALiBi{.slopes = {0.5}} | SoftCap{2}),
             WithinAbs(capped(3 - 2.0) - capped(0 - 1.5), close));
  CHECK_THAT(difference(SoftCap{2} | ALiBi{.slopes = {0.5}}),
             WithinAbs(capped(3) - 2 - (capped(0) - 1.5), close));
  // Temperature multiplies the score, not the bias: ln(5) / ln(5) is 1 at base length 5.
  CHECK_THAT(difference(ALiBi{.slopes = {0.5}} | LogN{.base_length = 25, .minimum_keys = 1}),
             WithinAbs(0.5 * 3 - 2 + 1.5, close));
}

TEST_CASE("reference: masks go by index, biases by position", "[attention][reference]") {
  const Vec q = {0, 0}, k = {0, 0, 0};
  const std::array<Position, 2> query_ids = {7, 7};
  const std::array<Position, 3> key_ids = {9, 7,
                                           1};  // the first lies in the future by its position
  const auto bound = bind(ALiBi{.slopes = {1.0}} | Causal{});
  const ReferenceResult result =
      reference_attention(one_head(q, 1), one_head(k, 1), one_head(unit_values_3, 3), bound,
                          {.query_positions = query_ids, .key_positions = key_ids});
  // Row 0 has index 1 and sees keys 0 and 1, at distances -2 and 0.
  CHECK_THAT(score_difference(result, 0, 1), WithinAbs(-2.0, close));
  CHECK(result.out[2] == 0);
  // Row 1 has index 2 and sees all three.
  CHECK_THAT(score_difference(result, 5, 4), WithinAbs(-6.0, close));
}

TEST_CASE("reference: a hidden key has no effect, whatever it holds", "[attention][reference]") {
  Vec q = {1, 1, 1, 1}, k = {0.5, 1.0, 2.0, 3.0}, v = {1, 2, 3, 4};
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 2} | ALiBi{} | Causal{});
  const auto run = [&] {
    return reference_attention(one_head(q, 2), one_head(k, 2), one_head(v, 2), bound);
  };
  const ReferenceResult clean = run();
  for (const double rubbish : {nan, infinity, -infinity}) {
    k[2] = v[2] = v[3] = rubbish;
    const ReferenceResult dirty = run();
    CHECK(dirty.out[0] == clean.out[0]);
    CHECK(dirty.out[1] == clean.out[1]);
    CHECK(dirty.lse[0] == clean.lse[0]);
    CHECK(!std::isfinite(dirty.out[2]));
  }
}

TEST_CASE("reference: rows that see nothing are zero", "[attention][reference]") {
  const Vec q = {1, 1, 1}, k = {1, 1}, v = {5, 6};
  const auto bound = bind(encoding(Causal{}));
  const ReferenceResult result = reference_attention(one_head(q, 1), one_head(k, 1), one_head(v, 1),
                                                     bound, {.query_offset = -1});
  CHECK(result.out[0] == 0);
  CHECK(result.lse[0] == -infinity);
  CHECK(result.out[1] == 5);

  const auto sunk = bind(SinkLogit{{0.75F}} | Causal{});
  const ReferenceResult with_sink = reference_attention(one_head(q, 1), one_head(k, 1),
                                                        one_head(v, 1), sunk, {.query_offset = -1});
  CHECK(with_sink.out[0] == 0);
  CHECK_THAT(with_sink.lse[0], WithinAbs(0.75, close));

  const ReferenceResult no_keys = reference_attention(one_head(q, 1), one_head({}, 1),
                                                      one_head({}, 1), bound, {.query_offset = 0});
  CHECK(no_keys.out == Vec{0, 0, 0});
  CHECK(no_keys.lse == Vec(3, -infinity));
}

TEST_CASE("reference: a sink takes weight and gives nothing", "[attention][reference]") {
  const Vec q = {1}, k = {2, 1}, v = {10, 20};
  const auto bound = bind(encoding(SinkLogit{{0.5F}}));
  const ReferenceResult result =
      reference_attention(one_head(q, 1), one_head(k, 1), one_head(v, 1), bound);
  const double sum = std::exp(2.0) + std::exp(1.0) + std::exp(0.5);
  CHECK_THAT(result.out[0], WithinAbs((10 * std::exp(2.0) + 20 * std::exp(1.0)) / sum, 10 * close));
  CHECK_THAT(result.lse[0], WithinAbs(std::log(sum), close));
}

TEST_CASE("reference: scores that are not finite", "[attention][reference]") {
  const Vec q = {1}, k = {1, 2}, v = {3, 4};
  const auto with_scores = [&](double first, double second) {
    return reference_attention(
        one_head(q, 1), one_head(k, 1), one_head(v, 1),
        bind(bias([=](const Score& at) { return at.key_index == 0 ? first : second; }) | Causal{}));
  };
  CHECK(with_scores(-infinity, 0).out[0] == 4);  // weight 0
  CHECK(with_scores(-infinity, -infinity).out[0] == 0);
  CHECK(with_scores(-infinity, -infinity).lse[0] == -infinity);
  CHECK(std::isnan(with_scores(nan, 0).out[0]));
  CHECK(std::isnan(with_scores(nan, nan).out[0]));
  CHECK(std::isnan(with_scores(nan, -infinity).out[0]));
  CHECK(std::isnan(with_scores(infinity, 0).out[0]));
}

TEST_CASE("reference: query heads share key heads in groups", "[attention][reference]") {
  // Four query heads, two key heads; values tell which key head was read, slopes which query head.
  const Vec q(4, 1.0), k(4, 1.0), v = {1, 100, 2, 200};  // two tokens of two heads
  const auto bound =
      bind(encoding(ALiBi{.slopes = {0, 1, 2, 3}}), {.num_heads = 4, .num_kv_heads = 2});
  const ReferenceResult result =
      reference_attention(TensorView<const double>(q.data(), 1, 4, 1),
                          TensorView<const double>(k.data(), 2, 2, 1),
                          TensorView<const double>(v.data(), 2, 2, 1), bound);
  for (std::size_t h = 0; h < 4; ++h) {
    const double old =
        1 / (1 + std::exp(static_cast<double>(h)));  // weight of the key at distance 1
    const double unit = h < 2 ? 1 : 100;
    CHECK_THAT(result.out[h], WithinAbs(unit * (old + 2 * (1 - old)), 100 * close));
  }
}

TEST_CASE("reference: frequencies that depend on the length go by the length of the call",
          "[attention][reference]") {
  const Vec q = {1, 0, 0.5, 0.25}, k = {0, 1, 0.5, -1, 1, 1, 0.5, 0.25};
  const DynamicNTK scheme{.original_context = 8};
  const auto dynamic = bind(RoPE<HalfSplit>{.head_dim = 4} | scheme);
  for (const Position offset : {0, 5, 20}) {
    const ReferenceResult result =
        reference_attention(one_head(q, 4), one_head(k, 4), one_head(unit_values_2, 2), dynamic,
                            {.key_offset = offset});
    // The closed form: base * m^(d / (d - 2)) beyond eight tokens, with m = T / 8.
    const double m = std::max(1.0, static_cast<double>(offset + 2) / 8);
    const Vec inv_freq = {1.0, std::pow(10000 * m * m, -0.5)};
    const auto position = static_cast<double>(offset);
    const double x0 = rotated_score<HalfSplit>(q, {k.begin(), k.begin() + 4}, position + 1,
                                               position, 0, inv_freq, 1);
    const double x1 = rotated_score<HalfSplit>(q, {k.begin() + 4, k.end()}, position + 1,
                                               position + 1, 0, inv_freq, 1);
    CHECK_THAT(score_difference(result, 0, 1), WithinAbs((x0 - x1) / 2, close));
  }
}

TEST_CASE("reference: float inputs, strides, and refusals", "[attention][reference]") {
  const std::vector<float> q = {1, 2}, k = {0.5F, -1, 0.25F, 0.75F};
  const Vec q64 = {1, 2}, k64 = {0.5, -1, 0.25, 0.75};
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 2} | Causal{});
  const TensorView<const float> keys(k.data(), 2, 1, 2);
  const ReferenceResult in_float =
      reference_attention(TensorView<const float>(q.data(), 1, 1, 2), keys, keys, bound);
  const ReferenceResult in_double =
      reference_attention(one_head(q64, 2), one_head(k64, 2), one_head(k64, 2), bound);
  CHECK(in_float.out == in_double.out);

  // Backwards in memory is the same tokens in reverse order.
  const TensorView<const double> reversed(k64.data() + 2, 2, 1, 2, -2, 2);
  const Vec turned_round = {0.25, 0.75, 0.5, -1};
  CHECK(reference_attention(one_head(q64, 2), reversed, reversed, bound).out ==
        reference_attention(one_head(q64, 2), one_head(turned_round, 2), one_head(turned_round, 2),
                            bound)
            .out);

  CHECK_THROWS_AS(reference_attention(one_head(k64, 2), one_head(q64, 2), one_head(q64, 2), bound),
                  Error);
  CHECK_THROWS_AS(reference_attention(one_head(k64, 1), one_head(k64, 1), one_head(k64, 1), bound),
                  Error);
  CHECK_THROWS_AS(reference_attention(one_head(q64, 2), one_head(k64, 2), one_head(q64, 2), bound),
                  Error);
}

}  // namespace reference_cases
