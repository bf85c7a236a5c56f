// SPDX-License-Identifier: MIT
#include <posenc/relative/transformer_xl.hpp>

#include "../support/bind_any.hpp"
#include "../support/sentences.hpp"
#include "formula.hpp"

#include <posenc/attention/ragged.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/mask/sliding_window.hpp>

namespace relative_test {
namespace transformer_xl_cases {

/// r_D of the paper: sines, then cosines, of D 10000^(-2t/d_model).
Real sinusoid(Position distance, Index i, Index d_model) {
  const Index t = i % (d_model / 2);
  const Real angle = static_cast<Real>(distance) *
                     std::pow(10000.0L, -2.0L * static_cast<Real>(t) / static_cast<Real>(d_model));
  return i < d_model / 2 ? std::sin(angle) : std::cos(angle);
}

/// W_R r_D of all heads, W_R [heads * head_dim][d_model].
std::vector<float> project(const std::vector<float>& r, const std::vector<float>& w,
                           Index d_model) {
  const Index count = std::ssize(r) / d_model, outputs = std::ssize(w) / d_model;
  std::vector<float> rows;
  for (Index d = 0; d < count; ++d)
    for (Index o = 0; o < outputs; ++o)
      rows.push_back(static_cast<float>(dot(
          d_model, [&](Index i) { return r[size(d * d_model + i)]; },
          [&](Index i) { return w[size(o * d_model + i)]; })));
  return rows;
}

TEMPLATE_TEST_CASE("TransformerXL: the formula of the paper", "[relative]", float, double) {
  using T = TestType;
  constexpr Index tokens = 29, heads = 3, width = 4, value_dim = 5, d_model = 10;
  const std::vector<float> u = noise(heads * width, 1), v = noise(heads * width, 2),
                           w = noise(heads * width * d_model, 3, 0.5);
  const Inputs<T> inputs(tokens, tokens, heads, heads, width, value_dim);
  const Arguments<T> call = inputs.call();

  // Both sides (XLNet), the past alone, and the past with clamp_len.
  const auto check = [&](Position first, std::optional<Position> clamp, bool causal) {
    CAPTURE(first, causal);
    const TransformerXL xl{
        .head_dim = width,
        .rows =
            project(transformer_xl_sinusoids(first, (clamp ? *clamp + 1 : tokens) - first, d_model),
                    w, d_model),
        .u = u,
        .v = v,
        .first_distance = first,
        .clamp_len = clamp};
    Formula f;
    f.score = [&, clamp](Index r, Index j, Index h) {
      Position distance = r - j;
      if (clamp) distance = std::max(std::min(distance, *clamp), -*clamp);
      const auto part = [&](const std::vector<float>& bias, const auto& key) {
        return dot(
            width,
            [&](Index c) {
              return static_cast<Real>(call.q(r, h, c)) + real(bias[size(h * width + c)]);
            },
            key);
      };
      return (part(u, [&](Index c) { return call.k(j, h, c); }) +
              part(v,
                   [&](Index c) {
                     return dot(
                         d_model, [&](Index i) { return w[size((h * width + c) * d_model + i)]; },
                         [&](Index i) { return sinusoid(distance, i, d_model); });
                   })) /
             std::sqrt(static_cast<Real>(width));
    };
    f.what = [&](Index, Index j, Index h, Index c) { return static_cast<Real>(call.v(j, h, c)); };
    if (causal) f.visible = [](Index r, Index j) { return j <= r; };
    // Rows are float here and long double in the formula: they differ by their rounding.
    const auto [kernel, reference] =
        causal ? differences(call, posenc_test::bind_any(xl | Causal{}, {.num_heads = heads}), f)
               : differences(call, posenc_test::bind_any(xl, {.num_heads = heads}), f);
    CHECK(kernel <= 5e-6);
    CHECK(reference <= 5e-6);
  };
  check(1 - tokens, {}, false);
  check(0, {}, true);
  check(0, 6, true);
  check(-6, 6, false);
}

TEST_CASE("TransformerXL: sinusoids have their halves side by side", "[relative]") {
  const std::vector<float> r = transformer_xl_sinusoids(-2, 5, 6);
  REQUIRE(r.size() == 30);
  for (Index d = 0; d < 5; ++d)
    for (Index i = 0; i < 6; ++i)
      CHECK(std::abs(real(r[size(d * 6 + i)]) - sinusoid(d - 2, i, 6)) <= 1e-7L);
  CHECK(sentences_thrown([] { (void)transformer_xl_sinusoids(0, 3, 5); }) ==
        "d_model must be even and positive, got 5.\n");
  CHECK(sentences_thrown([] { (void)transformer_xl_sinusoids(0, -1, 4); }) ==
        "the number of distances must not be negative and must fit in memory, got -1.\n");
}

TEST_CASE("TransformerXL: without vectors it is plain attention", "[relative]") {
  const Inputs<float> inputs(150, 150, 4, 2, 16, 8);
  const BindOptions shape{.num_heads = 4, .num_kv_heads = 2};
  const TransformerXL nothing{.head_dim = 16, .rows = std::vector<float>(150 * 4 * 16)};
  const TransformerXL zeros{.head_dim = 16,
                            .rows = nothing.rows,
                            .u = std::vector<float>(4 * 16),
                            .v = std::vector<float>(4 * 16)};
  const Output<float> plain =
      attend(inputs.call(), posenc_test::bind_any(encoding(Causal{}), shape));
  CHECK(differing_rows(attend(inputs.call(), posenc_test::bind_any(nothing | Causal{}, shape)),
                       plain) == 0);
  CHECK(differing_rows(attend(inputs.call(), posenc_test::bind_any(zeros | Causal{}, shape)),
                       plain) == 0);
}

TransformerXL some(Index count, Index heads, Index width) {
  return {.head_dim = width,
          .rows = noise(count * heads * width, 21),
          .u = noise(heads * width, 22),
          .v = noise(heads * width, 23)};
}

TEST_CASE("TransformerXL: only distances count", "[relative]") {
  const Inputs<float> inputs(150, 150, 2, 2, 16, 8);
  const auto bound = posenc_test::bind_any(some(150, 2, 16) | Causal{}, {.num_heads = 2});
  const Output<float> here = attend(inputs.call(), bound);
  Arguments<float> call = inputs.call();
  call.options.key_offset = 1'000'000'007;
  CHECK(differing_rows(attend(call, bound), here) == 0);
  call = inputs.call();
  call.options.query_positions = call.options.key_positions = Positions(-12345);
  CHECK(differing_rows(attend(call, bound), here) == 0);
}

TEST_CASE("TransformerXL: segments with memory are the sequence", "[relative]") {
  const Inputs<float> inputs(192, 192, 2, 2, 16, 8);
  const auto bound = posenc_test::bind_any(some(192, 2, 16) | Causal{}, {.num_heads = 2});
  const Arguments<float> call = inputs.call();
  const Output<float> all = attend(call, bound);
  for (const Index begin : {Index{0}, Index{64}, Index{128}}) {
    const Output<float> part = attend<float>(
        {call.q.slice(begin, 64), call.k.slice(0, begin + 64), call.v.slice(0, begin + 64)}, bound);
    for (Index r = 0; r < 64; ++r)
      for (Index h = 0; h < 2; ++h) CHECK(same_row(part, r, all, begin + r, h));
  }
  check_decode(inputs, bound);
}

TEST_CASE("TransformerXL: a pair that is seen needs a row", "[relative]") {
  constexpr Index tokens = 40;
  const Inputs<float> inputs(tokens, tokens, 2, 1, 8, 8);
  const Arguments<float> call = inputs.call();
  const BindOptions shape{.num_heads = 2, .num_kv_heads = 1};
  const auto thrown = [&](const auto& bound, const Arguments<float>& with) {
    return sentences_thrown([&] { attend(with, bound); });
  };
  const TransformerXL rows_of_ten = some(10, 2, 8), enough = some(tokens, 2, 8);

  CHECK(thrown(posenc_test::bind_any(enough | Causal{}, shape), call) == "nothing thrown");
  CHECK(thrown(posenc_test::bind_any(enough, shape), call) ==
        "the query at position 0 sees the key at position 1, at a distance of -1, but the encoding "
        "has vectors for distances 0 to 39: hide the key with a mask, or give more of them.\n");
  const std::string beyond = thrown(posenc_test::bind_any(rows_of_ten | Causal{}, shape), call);
  CHECK_THAT(beyond, ContainsSubstring("at a distance of 10, but the encoding has vectors for "
                                       "distances 0 to 9"));

  // A window hides what has no row, one that is a token too wide does not, whoever says so.
  CHECK(thrown(posenc_test::bind_any(rows_of_ten | SlidingWindow{.left = 9}, shape), call) ==
        "nothing thrown");
  CHECK(off_reference(call, posenc_test::bind_any(rows_of_ten | SlidingWindow{.left = 9}, shape)) <=
        close<float>);
  CHECK_THAT(thrown(posenc_test::bind_any(rows_of_ten | SlidingWindow{.left = 10}, shape), call),
             ContainsSubstring("distance of 10"));
  const auto window = [](Position width, Index head) {
    return mask([=](const Score& at) {
      const Position d = at.query_index - at.key_index;
      return d >= 0 && d < width + (at.head == head ? 1 : 0);
    });
  };
  CHECK(thrown(posenc_test::bind_any(rows_of_ten | window(10, -1), shape), call) ==
        "nothing thrown");
  CHECK_THAT(thrown(posenc_test::bind_any(rows_of_ten | window(10, 1), shape), call),
             ContainsSubstring("distance of 10"));

  // Positions count, not indices.
  const std::vector<Position> twice = [] {
    std::vector<Position> ids;
    for (Position i = 0; i < tokens; ++i) ids.push_back(2 * i);
    return ids;
  }();
  Arguments<float> spread = call;
  spread.options.query_positions = spread.options.key_positions = Positions(twice);
  CHECK_THAT(thrown(posenc_test::bind_any(enough | Causal{}, shape), spread),
             ContainsSubstring("distance of 40"));

  // clamp_len needs no row beyond it.
  TransformerXL clamped = rows_of_ten;
  clamped.clamp_len = 9;
  CHECK(thrown(posenc_test::bind_any(clamped | Causal{}, shape), spread) == "nothing thrown");
  CHECK_THAT(thrown(posenc_test::bind_any(clamped, shape), call),
             ContainsSubstring("distance of -1"));

  // The reference, and each sequence of a batch.
  CHECK_THAT(sentences_thrown([&] {
               (void)reference_attention(call.q, call.k, call.v,
                                         posenc_test::bind_any(rows_of_ten | Causal{}, shape));
             }),
             ContainsSubstring("the distance of 10 from position 10 to 0 has no vector"));
  const std::vector<Index> starts{0, 10, 21, 40};
  Tensor<float> out(tokens, 2, 8);
  CHECK(sentences_thrown([&] {
          attention(call.q, call.k, call.v, out.view(), RaggedBatch{starts},
                    posenc_test::bind_any(rows_of_ten | Causal{}, shape));
        }).find("sequence 1: the query at position 10 sees the key at position 0") == 0);
}

TEST_CASE("TransformerXL: clamp_len is the last row, again and again", "[relative]") {
  const Inputs<float> inputs(100, 100, 2, 2, 8, 8);
  TransformerXL clamped = some(13, 2, 8), repeated = clamped;
  clamped.clamp_len = 12;
  for (Index d = 13; d < 100; ++d)
    repeated.rows.insert(repeated.rows.end(), clamped.rows.end() - 16, clamped.rows.end());
  CHECK(differing_rows(
            attend(inputs.call(), posenc_test::bind_any(clamped | Causal{}, {.num_heads = 2})),
            attend(inputs.call(), posenc_test::bind_any(repeated | Causal{}, {.num_heads = 2}))) ==
        0);
}

TEST_CASE("TransformerXL: wrong values are sentences", "[relative]") {
  const TransformerXL right = some(5, 4, 64);
  CHECK(sentences_of(right) == "");
  TransformerXL wrong = right;
  wrong.head_dim = 0;
  CHECK(sentences_of(wrong) == "TransformerXL: head_dim must be positive, got 0.\n");
  wrong = some(5, 4, 32);
  CHECK(sentences_of(wrong) == "TransformerXL: head_dim is 32, but heads have 64 channels.\n");
  wrong = right;
  wrong.rows.pop_back();
  wrong.u.pop_back();
  wrong.v.push_back(HUGE_VALF);
  CHECK(sentences_of(wrong) ==
        "TransformerXL: rows must have 4 heads of 64 channels for each distance, got 1279 values.\n"
        "TransformerXL: u must have 4 heads of 64 channels, or nothing, got 255 values.\n"
        "TransformerXL: v must have 4 heads of 64 channels, or nothing, got 257 values.\n"
        "TransformerXL: every value of v must be finite, got inf at element 256.\n");
  wrong = right;
  wrong.rows.clear();
  CHECK_THAT(sentences_of(wrong), ContainsSubstring("got 0 values"));
  for (const Position clamp : {Position{-1}, Position{5}}) {
    wrong = right;
    wrong.clamp_len = clamp;
    CHECK(sentences_of(wrong) ==
          "TransformerXL: clamp_len must not be negative and must have a row, got " +
              std::to_string(clamp) + " for rows of distances 0 to 4.\n");
  }
  wrong = right;
  wrong.first_distance = Position{1} << 53;
  CHECK_THAT(sentences_of(wrong), ContainsSubstring("first_distance must lie within +-2^52"));
}

}  // namespace transformer_xl_cases
}  // namespace relative_test
