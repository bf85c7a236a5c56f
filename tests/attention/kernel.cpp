// SPDX-License-Identifier: MIT
//
// What the kernel's way of working must not show: panels and tiles and their tails, the corners of
// partial tiles that are left out, the scratch memory. tests/parallel has the threads.
#include "../support/cases.hpp"
#include "../support/catch.hpp"
#include "calls.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/documents.hpp>
#include <posenc/mask/prefix_lm.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/score/sink_logit.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <new>

namespace attention_test {
namespace kernel_cases {

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();

// --- Accuracy -----------------------------------------------------------------------------------

/// The greatest relative error of a row, as a vector, and of a log-sum-exp.
template <class BoundT>
std::pair<double, double> relative_errors(const Arguments<float>& call, const BoundT& bound) {
  const Output<float> got = attend_in_nan(call, bound);
  const ReferenceResult expected = reference_attention(call.q, call.k, call.v, bound, call.options);
  const TensorView<const float> out = got.out;
  std::pair<double, double> worst{};
  for (Index r = 0; r < out.tokens; ++r)
    for (Index h = 0; h < out.heads; ++h) {
      const Index row = r * out.heads + h;
      double error = 0, norm = 0;
      for (Index d = 0; d < out.width; ++d) {
        const double exact = expected.out[size(row * out.width + d)];
        const double difference = static_cast<double>(out(r, h, d)) - exact;
        error += difference * difference;
        norm += exact * exact;
      }
      const double lse = expected.lse[size(row)];
      worst.first = std::max(worst.first, std::sqrt(error / norm));
      worst.second = std::max(
          worst.second, std::abs(static_cast<double>(got.lse[size(row)]) - lse) / std::abs(lse));
    }
  return worst;
}

TEST_CASE("kernel: accurate over eight thousand keys", "[attention][kernel]") {
  const auto check = [&](const Inputs<float>& inputs, const auto& bound) {
    const auto [out, lse] = relative_errors(inputs.call(), bound);
    CHECK(out <= 2e-6);
    CHECK(lse <= 1e-6);
    CHECK(out > 0);
  };
  // So few queries that the keys are divided, and enough that they are not.
  const Inputs<float> divided(17, 8192, 2, 1, 128, 128, 4), whole(2, 8192, 16, 16, 32, 32, 2);
  const BindOptions two{.num_heads = 2, .num_kv_heads = 1}, sixteen{.num_heads = 16};
  SECTION("RoPE") {
    check(divided, bind(RoPE<HalfSplit>{.head_dim = 128} | Causal{}, two));
    check(whole, bind(RoPE<HalfSplit>{.head_dim = 32} | Causal{}, sixteen));
  }
  SECTION("ALiBi") {
    check(divided, bind(ALiBi{} | Causal{}, two));
    check(whole, bind(ALiBi{} | Causal{}, sixteen));
  }
}

TEST_CASE("kernel: equal weights over many keys", "[attention][kernel]") {
  // Each key but the first weighs exp(-0.37): added to one long sum, all of them would be rounded
  // the same way.
  Inputs<float> inputs(3, 8192, 1, 1, 1, 5, 0);
  for (Index c = 1; c < 8192; ++c) inputs.k.view()(c, 0, 0) = -0.37F;
  inputs.k.view()(0, 0, 0) = 0;
  for (Index r = 0; r < 3; ++r) inputs.q.view()(r, 0, 0) = 1;
  for (Index c = 0; c < 8192; ++c)
    for (Index d = 0; d < 5; ++d) inputs.v.view()(c, 0, d) += 1;
  const auto [out, lse] = relative_errors(inputs.call(), bind(encoding(Causal{})));
  CHECK(out <= 2e-6);
  CHECK(lse <= 1e-6);
}

TEMPLATE_TEST_CASE("kernel: widths, memory and tails of every size", "[attention][kernel]", float,
                   double) {
  using T = TestType;
  using Memory = typename Tensor<T>::Memory;
  int n = 0;  // goes through the other sizes in steps that are prime to their number
  posenc_test::Sample sample;
  for (const Index width : {2, 6, 64, 80, 96, 128, 256}) {
    const auto bound =
        bind(RoPE<HalfSplit>{.head_dim = width} | Causal{}, {.num_heads = 2, .num_kv_heads = 1});
    for (const Index queries : {1, 15, 16, 17, 63, 64, 65, 130}) {
      const Index keys = std::array<Index, 9>{1, 200, 15, 63, 130, 64, 65, 17, 128}[size(n % 9)];
      const Index value_dim = std::array<Index, 5>{1, 3, 17, 64, 130}[size(n % 5)];
      const Memory memory = std::array<Memory, 3>{Tensor<T>::padded, Tensor<T>::head_major,
                                                  Tensor<T>::token_major}[size(n / 2 % 3)];
      ++n;
      if (!sample.next()) continue;
      INFO(queries << " x " << keys << ", widths " << width << ", " << value_dim << ", memory "
                   << memory);
      const Inputs<T> inputs(queries, keys, 2, 1, width, value_dim, 2, memory);
      const Arguments<T> call = inputs.call();
      const Output<T> result = attend_in_nan(call, bound, memory);
      CHECK(worst_ratio<T>(result.out, result.lse,
                           reference_attention(call.q, call.k, call.v, bound, call.options),
                           error_bounds(call, bound)) <= 1);
    }
  }
}

// --- Scratch memory -----------------------------------------------------------------------------

TEST_CASE("kernel: the workspace does not grow with the sequence or the heads",
          "[attention][kernel]") {
  const auto bytes = [](Index tokens, Index heads, Index kv_heads, const AnyExecutor& executor) {
    return attention_workspace<float>(bind(RoPE<HalfSplit>{.head_dim = 128} | Causal{},
                                           {.num_heads = heads, .num_kv_heads = kv_heads}),
                                      {tokens, tokens, 128, 128}, executor);
  };
  for (const Index group : {1, 4, 8, 32}) {
    CAPTURE(group);
    // From 4,096 keys on there may be parts of them, so many at most, whatever their number.
    const std::size_t one = bytes(4'096, group, 1, Serial{});
    CHECK(bytes(1'000'000, group, 1, Serial{}) == one);
    for (const Index kv_heads : {2, 3, 8, 64})
      CHECK(bytes(4'096, kv_heads * group, kv_heads, Serial{}) == one);
    for (const Index threads : {1, 2, 3, 7, 64, 1000})
      for (const Index kv_heads : {1, 2, 8})
        for (const Index tokens : {1, 100, 2'048, 1'000'000}) {
          const std::size_t many = bytes(tokens, kv_heads * group, kv_heads, Backwards{threads});
          CHECK(many <= bytes(tokens, kv_heads * group, kv_heads, Serial{}) * size(threads));
        }
  }
}

TEST_CASE("kernel: a workspace serves all shorter calls", "[attention][kernel]") {
  const auto bound = bind(ALiBi{} | Causal{}, {.num_heads = 8, .num_kv_heads = 2});
  for (const Index threads : {1, 2, 3, 16}) {
    const auto bytes = [&](Index queries, Index keys, Index value_dim = 64) {
      return attention_workspace<float>(bound, {queries, keys, 64, value_dim}, Backwards{threads});
    };
    Index wrong = 0;
    std::size_t before = 0;
    for (const Index keys : {300, 4'000, 4'096, 70'000})
      for (Index queries = 1; queries < 1'200; queries += 5)
        for (const Index fewer : {Index{1}, queries / 2, queries - 1})
          wrong += bytes(fewer, keys) > bytes(queries, keys, 68) ? 1 : 0;
    for (Index n = 1; n < 3000; n += 7) {
      wrong += bytes(n, n) < before ? 1 : 0;
      before = bytes(n, n);
      wrong += bytes(std::max<Index>(n / 2, 1), n) > before || bytes(n, n / 2) > before ? 1 : 0;
    }
    CAPTURE(threads);
    CHECK(wrong == 0);
  }
}

// --- Extremes -----------------------------------------------------------------------------------

/// A bias for each pair of a query and a key of the sequence.
struct TableBias {
  const std::vector<float>* table;
  Index keys;
  float operator()(const Score& at) const {
    return (*table)[size(at.query_index * keys + at.key_index)];
  }
};

/// Scores that are biases alone, of `tokens` queries and keys.
template <class T>
struct Biased {
  static constexpr Index tokens = 150, value_dim = 9;
  std::vector<float> table = std::vector<float>(size(tokens * tokens), 0.0F);
  Inputs<T> inputs{tokens, tokens, 1, 1, 1, value_dim, 0};

  float& operator()(Index query, Index key) { return table[size(query * tokens + key)]; }
  [[nodiscard]] auto bound(float sink) const {
    return bind(bias(TableBias{&table, tokens}) | SinkLogit{{sink}} | PrefixLM{tokens});
  }
  [[nodiscard]] Output<T> run(float sink = -infinity<float>) const {
    return attend_in_nan(inputs.call(), bound(sink));
  }
  [[nodiscard]] double value(Index key, Index d) const {
    return static_cast<double>(inputs.v.view()(key, 0, d));
  }
};

TEMPLATE_TEST_CASE("kernel: scores of any size", "[attention][kernel]", float, double) {
  using T = TestType;
  constexpr Index tokens = Biased<T>::tokens, value_dim = Biased<T>::value_dim;
  const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
  Biased<T> biased;
  const auto all_are_the_mean = [&](const Output<T>& result) {
    bool right = true;
    for (Index d = 0; d < value_dim; ++d) {
      double mean = 0;
      for (Index c = 0; c < tokens; ++c) mean += biased.value(c, d) / double{tokens};
      for (Index r = 0; r < tokens; ++r)
        right = right &&
                std::abs(static_cast<double>(result.out.view()(r, 0, d)) - mean) <= tokens * eps;
    }
    return right;
  };
  const auto is_value = [&](const Output<T>& result, Index row, Index key) {
    bool right = true;
    for (Index d = 0; d < value_dim; ++d)
      right = right && result.out.view()(row, 0, d) == biased.inputs.v.view()(key, 0, d);
    return right;
  };

  SECTION("all equal: the mean") {
    for (const float score : {0.0F, 1e4F, -1e4F, 3e38F, -3e38F}) {
      CAPTURE(score);
      std::ranges::fill(biased.table, score);
      const Output<T> result = biased.run();
      CHECK(all_are_the_mean(result));
      for (const T lse : result.lse)
        if (std::abs(static_cast<double>(lse) - (static_cast<double>(score) + std::log(150.0))) >
            2 * eps * (std::abs(static_cast<double>(score)) + 5))
          FAIL_CHECK("lse " << lse);
    }
  }
  SECTION("one key dominates") {
    for (const float least : {-1e4F, -infinity<float>})
      for (const float greatest : {0.0F, 1e4F, -5e3F}) {
        std::ranges::fill(biased.table, least);
        for (Index r = 0; r < tokens; ++r) biased(r, (r * 37) % tokens) = greatest;
        const Output<T> result = biased.run();
        for (Index r = 0; r < tokens; ++r)
          if (!is_value(result, r, (r * 37) % tokens) ||
              result.lse[size(r)] != static_cast<T>(greatest))
            FAIL_CHECK("row " << r << ", " << greatest << " above " << least);
      }
  }
  SECTION("the same but each row its own size, against the reference") {
    Random random(6);
    for (Index r = 0; r < tokens; ++r) {
      const double size_of_row = random.pick({1.0, 10.0, 1e2, 1e4});
      for (Index c = 0; c < tokens; ++c)
        biased(r, c) = random.chance(0.2)
                           ? -infinity<float>
                           : static_cast<float>(random.real(-size_of_row, size_of_row));
    }
    const Arguments<T> call = biased.inputs.call();
    for (const float sink : {-infinity<float>, 0.0F, 1e4F, -1e4F}) {
      CAPTURE(sink);
      const auto bound = biased.bound(sink);
      const Output<T> result = biased.run(sink);
      CHECK(worst_ratio<T>(result.out, result.lse,
                           reference_attention(call.q, call.k, call.v, bound),
                           error_bounds(call, bound)) <= 1);
    }
  }
  SECTION("sinks far above and far below") {
    CHECK(all_are_the_mean(biased.run(-1e4F)));
    const Output<T> above = biased.run(1e4F);
    for (Index r = 0; r < tokens; ++r) {
      for (Index d = 0; d < value_dim; ++d)
        if (above.out.view()(r, 0, d) != 0) FAIL_CHECK("row " << r);
      if (above.lse[size(r)] != T{1e4F}) FAIL_CHECK("lse of row " << r);
    }
  }
  SECTION("rows whose scores are all minus infinity, next to others") {
    for (Index r = 0; r < tokens; r += 3)
      for (Index c = 0; c < tokens; ++c) biased(r, c) = -infinity<float>;
    for (const float sink : {-infinity<float>, 0.5F}) {
      const Output<T> result = biased.run(sink);
      for (Index r = 0; r < tokens; ++r)
        for (Index d = 0; d < value_dim; ++d)
          if ((result.out.view()(r, 0, d) == 0) != (r % 3 == 0)) FAIL_CHECK("row " << r);
      for (Index r = 0; r < tokens; r += 3)
        if (result.lse[size(r)] != static_cast<T>(sink)) FAIL_CHECK("lse of row " << r);
    }
  }
  SECTION("a row does not see what happens in others") {
    Random random(7);
    for (float& b : biased.table) b = static_cast<float>(random.real(-20, 20));
    const Output<T> before = biased.run();
    for (const Index row : {0, 15, 64, 100, 149})
      for (const float other : {0.0F, 1e4F, -1e4F, -infinity<float>,
                                std::numeric_limits<float>::quiet_NaN(), infinity<float>}) {
        Biased<T> changed = {biased.table, Inputs<T>(tokens, tokens, 1, 1, 1, value_dim, 0)};
        for (const Index key : {3, 70, 71, 149}) changed(row, key) = other;
        const Output<T> after = changed.run();
        for (Index r = 0; r < tokens; ++r)
          if (same_row(before, r, after, r, 0) != (r != row))
            FAIL_CHECK("row " << r << " when row " << row << " sees " << other);
      }
  }
}

TEST_CASE("kernel: ALiBi at positions near 2^52 goes by distances", "[attention][kernel]") {
  const auto bound = bind(ALiBi{} | Causal{}, {.num_heads = 2});
  const Inputs<float> inputs(90, 170, 2, 2, 16, 16);
  const Output<float> expected = attend(inputs.call(), bound);
  constexpr Position far = (Position{1} << 52) - 200;
  for (const Position shift : {far, -far}) {
    std::vector<Position> query, key;
    for (Index r = 0; r < 90; ++r) query.push_back(shift + 80 + r);
    for (Index c = 0; c < 170; ++c) key.push_back(shift + c);
    Arguments<float> call = inputs.call();
    call.options.query_positions = query;
    call.options.key_positions = key;
    CHECK(differing_rows(attend_in_nan(call, bound), expected) == 0);
    // As far apart as can be: the first key is out of sight, whatever its score.
    key[0] = -shift;
    Arguments<float> apart = call, without = call;
    apart.options.key_positions = key;
    const Output<float> spread = attend_in_nan(apart, bound);
    without.k = without.k.slice(1, 169);
    without.v = without.v.slice(1, 169);
    without.options.key_positions = Positions(shift + 1);
    without.options.key_offset = 1;
    CHECK(worst_ratio<float>(spread.out, spread.lse,
                             reference_attention(without.q, without.k, without.v, bound,
                                                 without.options),
                             error_bounds(inputs.call(), bound)) <= 1);
  }
}

TEMPLATE_TEST_CASE("kernel: rows that see nothing, in tiles with others", "[attention][kernel]",
                   float, double) {
  // The first key has index `blind`: so many rows are before every key.
  for (const Index blind : {1, 15, 16, 33, 64, 100, 130}) {
    CAPTURE(blind);
    Inputs<TestType> inputs(130, 70, 2, 1, 6, 3);
    inputs.options = {};
    inputs.options.query_offset = 5;
    inputs.options.key_offset = 5 + blind;
    const auto bound =
        bind(RoPE<HalfSplit>{.head_dim = 6} | Causal{}, {.num_heads = 2, .num_kv_heads = 1});
    const Output<TestType> result = attend_in_nan(inputs.call(), bound);
    for (Index r = 0; r < 130; ++r)
      for (Index h = 0; h < 2; ++h) {
        const bool sees = r >= blind;
        if ((result.lse[size(r * 2 + h)] == -infinity<TestType>) == sees)
          FAIL_CHECK("lse of row " << r);
        for (Index d = 0; d < 3; ++d)
          if ((result.out.view()(r, h, d) == 0) == sees) FAIL_CHECK("row " << r);
      }
  }
}

TEMPLATE_TEST_CASE("kernel: rows do not influence each other", "[attention][kernel]", float,
                   double) {
  using T = TestType;
  constexpr Index queries = 140, keys = 210, heads = 2, width = 24, value_dim = 10;
  constexpr Index offset = keys - queries;
  const auto bound =
      bind(RoPE<HalfSplit>{.head_dim = width} | Causal{}, {.num_heads = heads, .num_kv_heads = 1});
  const Inputs<T> clean(queries, keys, heads, 1, width, value_dim, 8);
  const Output<T> before = attend(clean.call(), bound);
  constexpr T nan = std::numeric_limits<T>::quiet_NaN();

  const std::array<T, 5> others{T{0}, T{300}, T{1e18F}, infinity<T>, nan};

  SECTION("a query") {
    for (const T other : others)
      for (const Index row : {0, 7, 31, 32, 63, 64, 128, 139}) {
        CAPTURE(other, row);
        Inputs<T> changed(queries, keys, heads, 1, width, value_dim, 8);
        for (Index d = 0; d < width; ++d) changed.q.view()(row, 1, d) = other;
        const Output<T> after = attend_in_nan(changed.call(), bound);
        for (Index r = 0; r < queries; ++r)
          for (Index h = 0; h < heads; ++h)
            if (same_row(before, r, after, r, h) != (r != row || h != 1))
              FAIL_CHECK("row " << r << " of head " << h);
      }
  }
  SECTION("a key and its value") {
    for (const T other : others)
      for (const Index key : {71, 100, 127, 128, 192, 209}) {
        CAPTURE(other, key);
        Inputs<T> changed(queries, keys, heads, 1, width, value_dim, 8);
        for (Index d = 0; d < width; ++d) changed.k.view()(key, 0, d) = other;
        for (Index d = 0; d < value_dim; ++d) changed.v.view()(key, 0, d) = other;
        const Output<T> after = attend_in_nan(changed.call(), bound);
        for (Index r = 0; r < queries; ++r)
          for (Index h = 0; h < heads; ++h)
            if (key > offset + r && !same_row(before, r, after, r, h))
              FAIL_CHECK("row " << r << ", which does not see the key");
      }
  }
  SECTION("rows that are there at all") {
    for (const auto& [first, count] : std::vector<std::pair<Index, Index>>{
             {0, 1}, {139, 1}, {5, 17}, {64, 64}, {33, 70}, {1, 139}}) {
      Arguments<T> part = clean.call();
      part.q = part.q.slice(first, count);
      part.options.query_offset = offset + first;
      const Output<T> rows = attend_in_nan(part, bound);
      for (Index r = 0; r < count; ++r)
        for (Index h = 0; h < heads; ++h)
          if (!same_row(before, first + r, rows, r, h))
            FAIL_CHECK("row " << first + r << " among " << count);
    }
  }
}

// --- Corners of partial tiles -------------------------------------------------------------------

/// Attention without positions, its weights computed once: only masks differ.
class Corners {
 public:
  static constexpr Index queries = 130, keys = 200, value_dim = 3;

  Corners() {
    const auto all = bind(encoding(PrefixLM{keys}));
    bounds_ = error_bounds(inputs_.call(), all);  // a mask leaves less of everything in them
    for (Index r = 0; r < queries; ++r)
      for (Index c = 0; c < keys; ++c) {
        double dot = 0;
        for (Index d = 0; d < 4; ++d)
          dot += static_cast<double>(inputs_.q.view()(r, 0, d)) *
                 static_cast<double>(inputs_.k.view()(c, 0, d));
        weights_.push_back(std::exp(dot / 2));
      }
  }

  /// What is computed here is the reference.
  template <class E>
  [[nodiscard]] bool agrees_with_the_reference(const E& mask) const {
    const auto bound = bind(encoding(mask));
    const Arguments<float> call = inputs_.call();
    const ReferenceResult expected = reference_attention(call.q, call.k, call.v, bound);
    const ReferenceResult own = masked(bound);
    bool same = true;
    for (std::size_t i = 0; i < own.out.size(); ++i)
      same = same && std::abs(own.out[i] - expected.out[i]) <= 1e-13;
    for (std::size_t i = 0; i < own.lse.size(); ++i)
      same = same &&
             (own.lse[i] == expected.lse[i] || std::abs(own.lse[i] - expected.lse[i]) <= 1e-13);
    return same;
  }

  /// Error over bound of queries that begin at this index.
  template <class E>
  [[nodiscard]] double ratio(const E& mask, Position query_offset = keys - queries) {
    inputs_.options.query_offset = query_offset;
    const auto bound = bind(encoding(mask));
    const Output<float> got = attend_in_nan(inputs_.call(), bound);
    return worst_ratio<float>(got.out, got.lse, masked(bound), bounds_);
  }

 private:
  template <class BoundT>
  [[nodiscard]] ReferenceResult masked(const BoundT& bound) const {
    const Arguments<float> call = inputs_.call();
    ReferenceResult result;
    for (Index r = 0; r < queries; ++r) {
      double sum = 0, out[value_dim] = {};
      for (Index c = 0; c < keys; ++c)
        if (bound.answers().visible(call.score(r, c, 0))) {
          const double weight = weights_[size(r * keys + c)];
          sum += weight;
          for (Index d = 0; d < value_dim; ++d)
            out[d] += weight * static_cast<double>(inputs_.v.view()(c, 0, d));
        }
      for (const double o : out) result.out.push_back(sum == 0 ? 0 : o / sum);
      result.lse.push_back(std::log(sum));
    }
    return result;
  }

  Inputs<float> inputs_{queries, keys, 1, 1, 4, value_dim};
  std::vector<RowBound> bounds_;
  std::vector<double> weights_;
};

TEST_CASE("kernel: windows that cut tiles anywhere", "[attention][kernel]") {
  Corners corners;
  CHECK(corners.agrees_with_the_reference(SlidingWindow{.left = 45, .right = 13}));
  double worst = 0;
  posenc_test::Sample sample;
  const auto check = [&](const auto& mask, Position query_offset) {
    if (sample.next()) worst = std::max(worst, corners.ratio(mask, query_offset));
  };
  SECTION("edges in the past and in the future") {
    for (Position edge = 0; edge <= 130; ++edge) {
      for (const Position offset : {70, 0}) {
        for (const Position other : {Position{0}, Position{40}, SlidingWindow::unlimited}) {
          check(SlidingWindow{.left = edge, .right = other}, offset);
          check(SlidingWindow{.left = other, .right = edge}, offset);
        }
      }
      check(SlidingWindow{.left = edge, .right = 31, .dilation = 2 + edge % 3}, 70);
      check(SlidingWindow{.left = 3, .right = 2}, edge - 10);
    }
    CHECK(worst <= 1);
  }
  SECTION("sinks and a window") {
    for (Position window = 1; window <= 130; ++window)
      for (const Position sinks : {0, 1, 4, 31, 32, 63, 64, 65, 100})
        check(SinkWindow{.sinks = sinks, .window = window}, window % 71);
    CHECK(worst <= 1);
  }
  SECTION("a prefix") {
    for (Position prefix = 0; prefix <= 200; ++prefix)
      for (const Position offset : {0, 37, 70}) check(PrefixLM{prefix}, offset);
    CHECK(worst <= 1);
  }
  SECTION("documents, causal") {
    for (Position start = 1; start < 200; ++start)
      for (const Position length : {1, 17, 64, 90})
        check(Documents{{0, start, start + length}} | Causal{}, start % 2 == 0 ? 70 : start % 71);
    CHECK(worst <= 1);
  }
  CHECK(worst > 0);
}

}  // namespace kernel_cases
}  // namespace attention_test
