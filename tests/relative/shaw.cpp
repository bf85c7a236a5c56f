// SPDX-License-Identifier: MIT
#include <posenc/relative/shaw.hpp>

#include "../support/bind_any.hpp"
#include "../support/sentences.hpp"
#include "formula.hpp"

#include <posenc/eigen.hpp>
#include <posenc/mask/causal.hpp>

namespace relative_test {
namespace shaw_cases {

TEMPLATE_TEST_CASE("Shaw: the formula of the paper", "[relative]", float, double) {
  using T = TestType;
  constexpr Index queries = 23, keys = 31, heads = 4, kv_heads = 2, width = 6, value_dim = 5;
  constexpr Position clip = 3;
  const std::vector<float> a_k = noise((2 * clip + 1) * width, 11),
                           a_v = noise((2 * clip + 1) * value_dim, 12);
  const Inputs<T> inputs(queries, keys, heads, kv_heads, width, value_dim);
  const Arguments<T> call = inputs.call();
  const auto row = [](Index r, Index j) {  // clip(j - i, -k, k) + k
    const Position c = j - (r + keys - queries);
    return static_cast<Index>(c < -clip ? 0 : c > clip ? 2 * clip : c + clip);
  };
  const auto formula = [&](bool with_keys, bool with_values, bool causal) {
    Formula f;
    f.score = [&, with_keys](Index r, Index j, Index h) {
      return dot(
                 width, [&](Index c) { return call.q(r, h, c); },
                 [&](Index c) {
                   return static_cast<Real>(call.k(j, h / 2, c)) +
                          (with_keys ? real(a_k[size(row(r, j) * width + c)]) : 0);
                 }) /
             std::sqrt(static_cast<Real>(width));
    };
    f.what = [&, with_values](Index r, Index j, Index h, Index c) {
      return static_cast<Real>(call.v(j, h / 2, c)) +
             (with_values ? real(a_v[size(row(r, j) * value_dim + c)]) : 0);
    };
    if (causal) f.visible = [](Index r, Index j) { return j <= r + keys - queries; };
    return f;
  };
  const BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};
  const ShawKeys shaw_keys{a_k, clip};
  const ShawValues shaw_values{a_v, clip};
  check_formula(call, posenc_test::bind_any(shaw_keys, shape), formula(true, false, false));
  check_formula(call, posenc_test::bind_any(shaw_values, shape), formula(false, true, false));
  check_formula(call, posenc_test::bind_any(shaw_keys | shaw_values, shape),
                formula(true, true, false));
  check_formula(call, posenc_test::bind_any(shaw_values | Causal{} | shaw_keys, shape),
                formula(true, true, true));
}

TEST_CASE("Shaw: rows run from keys behind the query to keys ahead", "[relative]") {
  const ShawKeys shaw{noise(5, 1), 2};
  std::string rows;
  for (Position distance = -4; distance <= 4; ++distance)  // query - key
    rows += std::to_string(shaw.bucket(distance));
  CHECK(rows == "444321000");
}

TEST_CASE("Shaw: one vector for all distances", "[relative]") {
  // clip = 0: its product with a query is the same for all keys, so it drops out of the softmax, and
  // every value has the same addend.
  const Inputs<float> inputs(90, 90, 2, 2, 16, 8);
  const Arguments<float> call = inputs.call();
  const std::vector<float> a_k = noise(16, 5, 3), a_v = noise(8, 6);
  const Output<float> plain =
                          attend(call, posenc_test::bind_any(encoding(Causal{}), {.num_heads = 2})),
                      with_keys = attend(call, posenc_test::bind_any(ShawKeys{a_k, 0} | Causal{},
                                                                     {.num_heads = 2})),
                      with_values =
                          attend(call, posenc_test::bind_any(ShawValues{a_v, 0} | Causal{},
                                                             {.num_heads = 2}));
  float off_keys = 0, off_values = 0, off_lse = 0;
  for (Index r = 0; r < 90; ++r)
    for (Index h = 0; h < 2; ++h) {
      float product = 0;
      for (Index c = 0; c < 16; ++c) product += call.q(r, h, c) * a_k[size(c)] / 4;
      off_lse = std::max(
          off_lse, std::abs(with_keys.lse[size(r * 2 + h)] - plain.lse[size(r * 2 + h)] - product));
      for (Index c = 0; c < 8; ++c) {
        const float x = plain.out.view()(r, h, c);
        off_keys = std::max(off_keys, std::abs(with_keys.out.view()(r, h, c) - x));
        off_values =
            std::max(off_values, std::abs(with_values.out.view()(r, h, c) - x - a_v[size(c)]));
      }
    }
  CHECK(off_keys <= 3e-6F);
  CHECK(off_values <= 3e-6F);
  CHECK(off_lse <= 1e-5F);
}

TEST_CASE("Shaw: a clip beyond the tokens is none", "[relative]") {
  constexpr Index tokens = 20, width = 8;
  const std::vector<float> wide = noise((2 * 40 + 1) * width, 3);
  // the rows of -19 .. 19
  const std::vector<float> narrow(wide.begin() + 21 * width, wide.begin() + (21 + 39) * width);
  const Inputs<float> inputs(tokens, tokens, 1, 1, width, width);
  const auto with = [&](const std::vector<float>& table, Position clip) {
    return attend(inputs.call(),
                  posenc_test::bind_any(ShawKeys{table, clip} | ShawValues{table, clip}));
  };
  const Output<float> a = with(wide, 40), b = with(narrow, tokens - 1);
  CHECK(worst_ratio<float>(a.out, a.lse,
                           {{b.out.view().data, b.out.view().data + tokens * width},
                            {b.lse.begin(), b.lse.end()}},
                           std::vector<RowBound>(tokens, {1e-6, 1e-6})) <= 1);
}

TEST_CASE("Shaw: a token decoded alone", "[relative]") {
  const auto bound =
      posenc_test::bind_any(ShawKeys{noise(33 * 16, 1)} | ShawValues{noise(33 * 8, 2)} | Causal{},
                            {.num_heads = 4, .num_kv_heads = 2});
  check_decode(Inputs<float>(130, 130, 4, 2, 16, 8), bound);
}

TEST_CASE("Shaw: wrong tables are sentences", "[relative]") {
  CHECK(sentences_of(ShawKeys{noise(33 * 64, 1)}) == "");
  CHECK(sentences_of(ShawKeys{noise(32 * 64, 1)}) ==
        "ShawKeys: the table must have 33 rows (2 clip + 1) of one width, got 2048 values.\n");
  CHECK(sentences_of(ShawValues{}) ==
        "ShawValues: the table must have 33 rows (2 clip + 1) of one width, got 0 values.\n");
  CHECK(sentences_of(ShawKeys{noise(33 * 32, 1)}) ==
        "ShawKeys: the table has rows of 32 channels, but heads have 64.\n");
  CHECK(sentences_of(ShawKeys{noise(64, 1), -1}) ==
        "ShawKeys: clip must lie within [0, 2^30], got -1.\n");
  std::vector<float> table = noise(64, 1);
  table[7] = HUGE_VALF;
  CHECK(sentences_of(ShawValues{table, 0}) ==
        "ShawValues: every value of the table must be finite, got inf at element 7.\n");

  const Inputs<float> inputs(3, 3, 1, 1, 8, 5);
  const auto run = [&](const auto& encoding) {
    const auto bound = posenc_test::bind_any(encoding);
    return std::pair{sentences_thrown([&] { attend(inputs.call(), bound); }), sentences_thrown([&] {
                       const Arguments<float> call = inputs.call();
                       (void)reference_attention(call.q, call.k, call.v, bound);
                     })};
  };
  const auto keys = run(ShawKeys{noise(3 * 6, 1), 1});
  CHECK(keys.first == "the encoding has relative keys of 6 channels, but queries have 8.\n");
  CHECK(keys.second == keys.first);
  const auto values = run(ShawValues{noise(3 * 6, 1), 1});
  CHECK(values.first == "the encoding has relative values of 6 channels, but values have 5.\n");
  CHECK(values.second == values.first);
}

TEST_CASE("row_by_row: the rows of a matrix, however it is stored", "[relative]") {
  Eigen::Matrix<float, 2, 3> by_column;
  by_column << 1, 2, 3, 4, 5, 6;
  const Eigen::Matrix<float, 2, 3, Eigen::RowMajor> by_row = by_column;
  const std::vector<float> expected{1, 2, 3, 4, 5, 6};
  CHECK(row_by_row(by_column) == expected);
  CHECK(row_by_row(by_row) == expected);
  CHECK(row_by_row(2 * by_column.transpose()) == std::vector<float>{2, 8, 4, 10, 6, 12});
}

}  // namespace shaw_cases
}  // namespace relative_test
