// SPDX-License-Identifier: MIT
//
// Rows that see nothing, numbers that are not finite, scores of extreme size, many parts of the
// keys, gaps and rings under windows.
#include "../support/bind_any.hpp"
#include "../support/cases.hpp"
#include "calls.hpp"

#include "../attention/calls.hpp"
#include "reference.hpp"

#include <posenc/bias/bias.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/score/sink_logit.hpp>

namespace decode_test {
namespace extremes_cases {

constexpr Index heads = 6, kv_heads = 2, width = 16, value_dim = 5;
constexpr BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();
const RoPE<HalfSplit> rope{.head_dim = width};

/// Everything in raw caches and in rotated ones, in pages and whole, and the last queries of it.
std::vector<Output<float>> both_states(const Sequence<float>& sequence, Index queries,
                                       const AnyBound& bound) {
  std::vector<Output<float>> results;
  const auto run = [&]<KeyState State>(std::integral_constant<KeyState, State>) {
    for (const Kind kind : {Kind::paged, Kind::contiguous}) {
      Holder<State, float> cache(kind, shape_for(sequence));
      append(*cache, 0, sequence, 0, sequence.k.view().tokens, bound);
      results.push_back(decoded(sequence.last(queries).q, *cache, bound));
    }
  };
  run(std::integral_constant<KeyState, KeyState::raw>{});
  if (!bound.has_distance_map()) run(std::integral_constant<KeyState, KeyState::rotated>{});
  return results;
}

enum class Row { as_before, zero, not_a_number };

/// One element of one row.
Row kind_of(float x) {
  return x == 0 ? Row::zero : std::isnan(x) ? Row::not_a_number : Row::as_before;
}

/// Is every row, of its head and query, what is expected of it?
template <class F>
void check_rows(const Output<float>& result, const F& expected, const char* what) {
  const TensorView<const float> out = result.out;
  for (Index r = 0; r < out.tokens; ++r)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < value_dim; ++c)
        if (kind_of(out(r, h, c)) != expected(r, h))
          FAIL_CHECK(what << ": row " << r << ", head " << h << " is " << out(r, h, c));
}

TEST_CASE("decode: rows that see nothing are zero") {
  for (const Index tokens : {70, 1300}) {
    Sequence<float> sequence(tokens, heads, kv_heads, width, value_dim);
    const Position last = tokens - 1;
    // The last query and the third head see nothing.
    const auto blind =
        mask([=](const Score& at) { return at.query_index != last && at.head != 2; });
    const auto expect = [](Index r, Index h) {
      return r == 2 || h == 2 ? Row::zero : Row::as_before;
    };
    for (const bool poisoned : {false, true}) {
      if (poisoned)
        for (Index c = 0; c < width; ++c) sequence.q.view()(last, 4, c) = nan;
      for (const Output<float>& result :
           both_states(sequence, 3, posenc_test::bind_any(rope | blind | Causal{}, shape))) {
        check_rows(result, expect, "no sink");
        for (Index h = 0; h < heads; ++h) CHECK(result.lse[size(2 * heads + h)] == -infinity);
        CHECK(result.lse[2] == -infinity);
        CHECK(std::isfinite(result.lse[0]));
      }
      const SinkLogit sink{.logits = {0.5F, -1, 0.625F, 2, 0, -infinity}};
      for (const Output<float>& result :
           both_states(sequence, 3, posenc_test::bind_any(rope | blind | sink | Causal{}, shape))) {
        check_rows(result, expect, "sink");
        CHECK(result.lse[size(2 * heads + 0)] == 0.5F);
        CHECK(result.lse[size(2 * heads + 1)] == -1);
        CHECK(result.lse[size(2 * heads + 5)] == -infinity);
        CHECK(result.lse[2] == 0.625F);
      }
    }
  }
}

TEST_CASE("decode: what is hidden has no effect, whatever it holds") {
  for (const Index tokens : {70, 1300}) {
    const SlidingWindow window = SlidingWindow::from_token_count(20);
    Sequence<float> clean(tokens, heads, kv_heads, width, value_dim),
        poisoned(tokens, heads, kv_heads, width, value_dim);
    for (Index t = 0; t < tokens - 22; ++t)  // three queries look 20 back
      for (Index h = 0; h < kv_heads; ++h) {
        for (Index c = 0; c < width; ++c)
          poisoned.k.view()(t, h, c) = c % 3 == 0 ? nan : c % 3 == 1 ? infinity : -infinity;
        for (Index c = 0; c < value_dim; ++c)
          poisoned.v.view()(t, h, c) = c % 2 == 0 ? nan : infinity;
      }
    const auto check = [&](const auto& bound) {
      const auto expected = both_states(clean, 3, bound), got = both_states(poisoned, 3, bound);
      for (std::size_t i = 0; i < got.size(); ++i) {
        const auto call = clean.last(3);
        CHECK(ratio(got[i], call, bound) <= 1);
        CHECK(ratio(expected[i], call, bound) <= 1);
      }
    };
    check(posenc_test::bind_any(rope | window, shape));
    check(posenc_test::bind_any(rope | mask([=](const Score& at) { return window.visible(at); }),
                                shape));
    check(posenc_test::bind_any(rope | ReRoPE{.window = 7} | window, shape));
  }
}

TEST_CASE("decode: what is visible and not finite stays where it belongs") {
  constexpr Index tokens = 1300;
  const auto bound = posenc_test::bind_any(rope | Causal{}, shape);
  for (const Index at : {3, 700, 1299}) {
    INFO("token " << at);
    Sequence<float> sequence(tokens, heads, kv_heads, width, value_dim);
    sequence.k.view()(at, 1, 3) = nan;
    // Of three queries, those that see it; of six heads, those of the second key head.
    const auto expect = [&](Index r, Index h) {
      return h >= 3 && tokens - 3 + r >= at ? Row::not_a_number : Row::as_before;
    };
    for (const Output<float>& result : both_states(sequence, 3, bound))
      check_rows(result, expect, "key");

    Sequence<float> query(tokens, heads, kv_heads, width, value_dim);
    query.q.view()(tokens - 2, 4, 0) = infinity;
    for (const Output<float>& result : both_states(query, 3, bound))
      check_rows(
          result,
          [](Index r, Index h) { return r == 1 && h == 4 ? Row::not_a_number : Row::as_before; },
          "query");

    Sequence<float> value(tokens, heads, kv_heads, width, value_dim);
    value.v.view()(at, 0, 2) = nan;
    value.v.view()(at, 0, 4) = infinity;
    for (const Output<float>& result : both_states(value, 3, bound))
      for (Index r = 0; r < 3; ++r)
        for (Index h = 0; h < heads; ++h) {
          const bool seen = h < 3 && tokens - 3 + r >= at;
          CHECK(std::isnan(result.out.view()(r, h, 2)) == seen);
          CHECK((result.out.view()(r, h, 4) == infinity) == seen);
          CHECK(std::isfinite(result.out.view()(r, h, 0)));
          CHECK(std::isfinite(result.lse[size(r * heads + h)]));
        }
  }
}

TEST_CASE("decode: scores that are not finite") {
  constexpr Index tokens = 1300;
  const Sequence<float> sequence(tokens, heads, kv_heads, width, value_dim);
  const auto with = [&](auto score_of) {
    return both_states(sequence, 2,
                       posenc_test::bind_any(rope | bias([=](const Score& at) {
                                               return static_cast<double>(
                                                   score_of(at.key_index, at.head));
                                             }),
                                             shape));
  };
  const auto one_head = [](Row row) {
    return [=](Index, Index h) { return h == 1 ? row : Row::as_before; };
  };
  for (const Index at : {0, 600, 1299}) {
    for (const auto& r :
         with([=](Position key, Index h) { return key == at && h == 1 ? infinity : 0; }))
      check_rows(r, one_head(Row::not_a_number), "infinite score");
    for (const auto& r : with([=](Position key, Index h) { return key == at && h == 1 ? nan : 0; }))
      check_rows(r, one_head(Row::not_a_number), "score that is no number");
    // All but one: its value is what comes out.
    for (const auto& r : with([=](Position key, Index) { return key == at ? 0 : -infinity; }))
      for (Index c = 0; c < value_dim; ++c)
        CHECK(r.out.view()(1, 5, c) == Approx(sequence.v.view()(at, 1, c)).epsilon(1e-6));
    // A score that outweighs all others, and one that all others outweigh.
    for (const auto& r : with([=](Position key, Index) { return key == at ? 1e4F : 0; })) {
      for (Index c = 0; c < value_dim; ++c)
        CHECK(r.out.view()(0, 0, c) == Approx(sequence.v.view()(at, 0, c)).epsilon(1e-6));
      CHECK(r.lse[0] == Approx(1e4F).margin(30));
    }
  }
  for (const auto& r : with([=](Position, Index h) { return h == 1 ? -infinity : 0; })) {
    check_rows(r, one_head(Row::zero), "minus infinity everywhere");
    CHECK(r.lse[1] == -infinity);
  }
  // Falls by 1e4 from one end to the other, either way: parts that weigh nothing merge with one
  // that does.
  for (const double slope : {1e4 / tokens, -1e4 / tokens, 2e5 / tokens}) {
    const auto bound = posenc_test::bind_any(
        rope | bias([=](const Score& at) { return slope * static_cast<double>(at.key_index); }),
        shape);
    for (const auto& r : both_states(sequence, 2, bound))
      CHECK(ratio(r, sequence.last(2), bound) <= 1);
  }
}

TEST_CASE("decode: thousands of keys, in parts") {
  const auto bound = posenc_test::bind_any(rope | RotateValues{} | SinkLogit{} | Causal{}, shape);
  posenc_test::Sample sample;
  for (const Index tokens : {3001, 511, 512, 513, 1024, 33'000}) {
    if (!sample.next()) continue;
    INFO(tokens << " tokens");
    const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
    for (const auto& r : both_states(sequence, 2, bound))
      CHECK(ratio(r, sequence.last(2), bound) <= 1);
  }
}

// --- Gaps and rings ------------------------------------------------------------------------------

/// The tokens that a cache holds, of a sequence with positions equal to indices.
template <class CacheT, class BoundT>
void check_held(CacheT& cache, const Sequence<float>& sequence, Index queries,
                const BoundT& bound) {
  const Index held = cache.tokens(0);
  Tensor<float> q(queries, heads, width), k(held, kv_heads, width), v(held, kv_heads, value_dim);
  std::vector<Position> index(size(held)), at(size(held));
  for (Index rank = 0; rank < held; ++rank) {
    index[size(rank)] = cache.index(0, rank);
    at[size(rank)] = cache.position(0, rank);
    for (Index h = 0; h < kv_heads; ++h) {
      for (Index c = 0; c < width; ++c)
        k.view()(rank, h, c) = sequence.k.view()(index[size(rank)], h, c);
      for (Index c = 0; c < value_dim; ++c)
        v.view()(rank, h, c) = sequence.v.view()(index[size(rank)], h, c);
    }
  }
  for (Index r = 0; r < queries; ++r)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < width; ++c)
        q.view()(r, h, c) = sequence.q.view()(index[size(held - queries + r)], h, c);
  Arguments<float> call{q.view(), k.view(), v.view()};
  call.options.key_positions = at;
  call.options.query_positions = Positions(at).subspan(size(held - queries), size(queries));
  CHECK(attention_test::worst_ratio<float>(
            decoded(call.q, cache, bound).out, decoded(call.q, cache, bound).lse,
            reference_of<float>(call.q, call.k, call.v, at, index, bound),
            attention_test::error_bounds(call, posenc_test::bind_any(rope, shape))) <= 1);
}

TEST_CASE("decode: a ring as large as the window gives what the whole cache gives") {
  constexpr Index tokens = 200;
  const Sequence<float> sequence(tokens, heads, kv_heads, width, value_dim);
  const auto check = [&](const auto& bound, Index sinks, Index capacity) {
    CacheShape small = shape_for(sequence);
    small.capacity = capacity;
    auto ring = KeyValueCache<KeyState::rotated, float>::ring(small, sinks);
    Index n = 0;
    for (Index some = 1; n < tokens; n += some, some = std::min(some % 5 + 1, tokens - n)) {
      append(ring, 0, sequence, n, n + some, bound);
      // With several queries the first would look further back than the ring reaches.
      const auto call = sequence.last(1, n + some);
      CHECK(ratio(decoded(call.q, ring, bound), call, bound) <= 1);
    }
  };
  check(posenc_test::bind_any(rope | SlidingWindow::from_token_count(17), shape), 0, 17);
  check(posenc_test::bind_any(rope | SlidingWindow::from_token_count(64), shape), 0, 70);
  check(posenc_test::bind_any(rope | SinkWindow{.sinks = 4, .window = 20}, shape), 4, 24);
}

TEST_CASE("decode: what a workspace held before has no effect") {
  const Sequence<float> sequence(620, heads, kv_heads, width, value_dim);
  const auto check = [&]<KeyState State>(std::integral_constant<KeyState, State>,
                                         const auto& bound) {
    Holder<State, float> cache(Kind::contiguous, shape_for(sequence));
    append(*cache, 0, sequence, 0, 620, bound);
    const auto call = sequence.last(3);
    const attention_test::Workspace dirty(decode_workspace(bound, *cache, 3));  // NaN, or -1
    CHECK(ratio(decoded(call.q, *cache, bound, {.workspace = dirty.memory()}), call, bound) <= 1);
    CHECK(dirty.guards_are_whole());
  };
  constexpr std::integral_constant<KeyState, KeyState::raw> raw;
  constexpr std::integral_constant<KeyState, KeyState::rotated> rotated;
  // Five pairs: whole vectors of angles and of channels go beyond them.
  const RoPE<HalfSplit> some{.head_dim = width, .rotary_dim = 10};
  const RoPE<Interleaved> others{.head_dim = width, .rotary_dim = 10, .rotary_offset = 3};
  check(raw, posenc_test::bind_any(some | Causal{}, shape));
  check(raw, posenc_test::bind_any(others | Causal{}, shape));
  check(rotated, posenc_test::bind_any(others | Causal{}, shape));
  check(raw, posenc_test::bind_any(some | ReRoPE{.window = 9} | Causal{}, shape));
  check(raw, posenc_test::bind_any(
                 rope | SlidingWindow::from_token_count(20) | SinkLogit{} | Causal{}, shape));
}

TEST_CASE("decode: streaming counts places in the cache") {
  const Sequence<float> sequence(120, heads, kv_heads, width, value_dim);
  CacheShape small = shape_for(sequence);
  small.capacity = 30;
  const auto bound = posenc_test::bind_any(rope | ReRoPE{.window = 9} | Causal{}, shape);
  auto cache = KeyValueCache<KeyState::raw, float>::streaming(small, 4);
  for (Index n = 0; n < 120; n += 3) {
    append(cache, 0, sequence, n, n + 3, bound);
    check_held(cache, sequence, std::min<Index>(cache.tokens(0), 4), bound);
  }
  CHECK(cache.position(0, 29) == 29);
  CHECK(cache.index(0, 4) == 94);
}

}  // namespace extremes_cases
}  // namespace decode_test
