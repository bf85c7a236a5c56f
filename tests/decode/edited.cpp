// SPDX-License-Identifier: MIT
//
// A cache that was edited is one that has only ever seen the tokens that are left: every mask, bias
// and distance sees what it sees in a fresh cache of these tokens at these positions, to the last bit
// where both keep them in the same slots, and what attention() sees in the sequence of them.
#include "../attention/calls.hpp"
#include "../support/bind_any.hpp"
#include "calls.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/cache/rerotate.hpp>
#include <posenc/distance/lm_infinite.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/distance/self_extend.hpp>
#include <posenc/distance/streaming_llm.hpp>
#include <posenc/distance/string.hpp>
#include <posenc/mask/any_of.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/chunked_causal.hpp>
#include <posenc/mask/prefix_lm.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>

namespace decode_test {
namespace edited_cases {

using attention_test::differing_rows;

constexpr Index heads = 4, kv_heads = 2, width = 16, tokens = 90;
constexpr BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};
const RoPE<HalfSplit> rope{.head_dim = width};

/// A cache under edits, and which tokens of `sequence` ought to be left, at which positions.
template <KeyState State>
struct Edited {
  const Sequence<float>& sequence;
  AnyBound bound;
  Holder<State, float> cache;
  std::vector<Index> left{};
  std::vector<Position> at{};

  Edited(Kind kind, const Sequence<float>& all, const AnyBound& encoding)
      : sequence(all), bound(encoding), cache(kind, shape_for(all)) {}

  /// Tokens [first, last) of the sequence, at these positions or behind the last one.
  void add(Index first, Index last, const std::vector<Position>& places = {}) {
    Position next = at.empty() ? 0 : at.back() + 1;
    for (Index t = first; t < last; ++t) {
      left.push_back(t);
      at.push_back(places.empty() ? next++ : places[size(t - first)]);
    }
    if (places.empty())
      append(*cache, 0, sequence, first, last, bound);
    else
      append(*cache, 0, sequence, first, last, bound, {Positions(places)});
  }
  void evict(Position first, Position last) {
    cache->evict(0, first, last);
    left.erase(left.begin() + first, left.begin() + last);
    at.erase(at.begin() + first, at.begin() + last);
  }
  void keep_path(Position first, const std::vector<Position>& path) {
    cache->keep_path(0, first, path);
    for (Index i = 0; i < std::ssize(path); ++i) {
      left[size(first + i)] = left[size(path[size(i)])];
      at[size(first + i)] = at[size(path[size(i)])];
    }
    left.resize(size(first) + path.size());
    at.resize(left.size());
  }
  /// Raw keys, so that no rounding comes in.
  void shift(Position first, Position last, Position by) {
    posenc::shift(*cache, 0, first, last, by, bound);
    for (Position i = first; i < last; ++i) at[size(i)] += by;
  }

  /// The same tokens at the same positions, appended one by one.
  void compare(Kind kind) {
    const Index n = std::ssize(left);
    Holder<State, float> fresh(kind, shape_for(sequence));
    for (Index i = 0; i < n; ++i)
      append(*fresh, 0, sequence, left[size(i)], left[size(i)] + 1, bound,
             {Positions(std::span(at).subspan(size(i), 1))});
    REQUIRE(cache->tokens(0) == n);
    CHECK(cache->next_index(0) == fresh->next_index(0));
    CHECK(cache->next_position(0) == fresh->next_position(0));
    for (Index i = 0; i < n; ++i) {
      CHECK((cache->index(0, i) == i && cache->position(0, i) == at[size(i)]));
      for (Index h = 0; h < kv_heads; ++h)
        CHECK((std::ranges::equal(cache->key(0, i, h), fresh->key(0, i, h)) &&
               std::ranges::equal(cache->value(0, i, h), fresh->value(0, i, h))));
    }
    // One query, some, and more than the decode kernel takes.
    for (const Index queries : {Index{1}, Index{3}, Index{12}}) {
      INFO(queries << " queries");
      const Tensor<float> q = rows(sequence.q.view(), n - queries, queries),
                          k = rows(sequence.k.view(), 0, n), v = rows(sequence.v.view(), 0, n);
      Arguments<float> call{q.view(), k.view(), v.view()};
      call.options.key_positions = at;
      call.options.query_positions = Positions(at).subspan(size(n - queries), size(queries));
      const Output<float> result = decoded(call.q, *cache, bound);
      CHECK(differing_rows(result, decoded(call.q, *fresh, bound)) == 0);
      CHECK(ratio(result, call, bound) <= 1);
    }
  }

 private:
  /// Some of the tokens that are left.
  [[nodiscard]] Tensor<float> rows(const TensorView<const float>& x, Index first,
                                   Index count) const {
    Tensor<float> some(count, x.heads, x.width);
    for (Index t = 0; t < count; ++t)
      for (Index h = 0; h < x.heads; ++h)
        for (Index c = 0; c < x.width; ++c) some.view()(t, h, c) = x(left[size(first + t)], h, c);
    return some;
  }
};

/// Edits of every kind, in caches of every kind, under one encoding.
template <KeyState State>
void check_edits(const char* name, const AnyBound& bound) {
  INFO(name);
  const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
  for (const Kind kind : {Kind::contiguous, Kind::ring, Kind::paged}) {
    INFO("kind " << static_cast<int>(kind));
    {  // four guesses at one position, of which the last is right, and on from there
      Edited<State> e(kind, sequence, bound);
      e.add(0, 40);
      e.add(40, 44, {40, 40, 40, 40});
      e.evict(40, 43);
      e.compare(kind);
      e.add(44, 60);
      e.compare(kind);
    }
    {  // a tree:  40: 41 42 44   (two levels below the first guess)   43: 45
      Edited<State> e(kind, sequence, bound);
      e.add(0, 40);
      e.add(40, 46, {40, 41, 41, 40, 42, 41});
      e.keep_path(40, {40, 42, 44});
      e.compare(kind);
      e.add(46, 47);
      e.compare(kind);
      e.keep_path(43, {});
      e.compare(kind);
    }
    {  // from the beginning, the middle and the end; positions have gaps from then on
      Edited<State> e(kind, sequence, bound);
      e.add(0, 80);
      e.evict(0, 3);
      e.evict(20, 41);
      e.evict(50, 56);
      e.compare(kind);
      e.add(80, 90);
      e.compare(kind);
    }
    if constexpr (State == KeyState::raw) {  // and moved together
      Edited<State> e(kind, sequence, bound);
      e.add(0, 80);
      e.evict(4, 34);
      e.shift(4, 50, -30);
      e.add(80, 84);
      e.compare(kind);
    }
  }
}

/// Slow to evaluate, and different in each head.
double logarithmic(Index head, Position distance) {
  return -0.3 * static_cast<double>(head + 1) * std::log1p(std::abs(static_cast<double>(distance)));
}

TEST_CASE("an edited cache is a fresh one of what is left: windows") {
  const auto check = [](const char* name, const auto& encoding) {
    check_edits<KeyState::rotated>(name, posenc_test::bind_any(encoding, shape));
  };
  check("SlidingWindow", rope | SlidingWindow{.left = 7});
  check("SlidingWindow, dilated", rope | SlidingWindow{.left = 20, .dilation = 3});
  check("SinkWindow", rope | SinkWindow{.sinks = 2, .window = 9});
  check("ChunkedCausal", rope | ChunkedCausal{.chunk = 16});
  check("PrefixLM", rope | PrefixLM{.prefix = 22});
  check("any_of", rope | any_of(SlidingWindow{.left = 4}, ChunkedCausal{.chunk = 24}) | Causal{});
}

TEST_CASE("an edited cache is a fresh one of what is left: distances and biases") {
  const auto check = [](const char* name, const auto& encoding) {
    check_edits<KeyState::raw>(name, posenc_test::bind_any(encoding, shape));
  };
  check("ReRoPE", rope | ReRoPE{.window = 6} | SlidingWindow{.left = 30});
  check("SelfExtend", rope | SelfExtend{.window = 12, .group = 3} | Causal{});
  check("STRING", rope | STRING{.shift = 12, .local = 3} | Causal{});
  check("StreamingLLM", rope | StreamingLLM{.sinks = 2, .recent = 17});
  check("LMInfinite", rope | LMInfinite{.window = 17, .sinks = 2});
  check("ALiBi", ALiBi{} | SlidingWindow{.left = 7});
  check("bias by distance", rope | bias(logarithmic) | ChunkedCausal{.chunk = 16});
  check("bias by place", rope | bias([](Score at) {
                           return static_cast<float>(at.query_index - at.key_index) / 64;
                         }) | Causal{});
}

TEST_CASE("an edited ring is a ring of what is left, with what it has overwritten") {
  const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
  const auto check = [&](const auto& encoding, Index capacity, Index sinks) {
    const auto bound = posenc_test::bind_any(encoding, shape);
    CacheShape small = shape_for(sequence);
    small.capacity = capacity;
    auto ring = KeyValueCache<KeyState::raw, float>::ring(small, sinks);
    // Each token behind three guesses of it that were wrong.
    for (Index t = 0; t < tokens; ++t) {
      const std::vector<Position> there(3, t);
      append(ring, 0, sequence, 0, 3, bound, {Positions(there)});
      append(ring, 0, sequence, t, t + 1, bound, {Positions(t)});
      ring.keep_path(0, t, std::vector<Position>{ring.next_index(0) - 1});
      CHECK(ring.next_index(0) == t + 1);
      CHECK(ring.next_position(0) == t + 1);
      const auto call = sequence.last(1, t + 1);
      const Output<float> result = decoded(call.q, ring, bound);
      CHECK(ratio(result, call, bound) <= 1);
    }
  };
  check(rope | SlidingWindow{.left = 7}, 11, 0);
  check(rope | SinkWindow{.sinks = 3, .window = 8}, 14, 3);
  check(rope | ChunkedCausal{.chunk = 16}, 19, 0);
  // Without room for the guesses, they have overwritten what the window still shows.
  CHECK_THROWS_WITH(check(rope | SlidingWindow{.left = 7}, 10, 0),
                    ContainsSubstring("has overwritten token 0, which the mask lets query 7 see"));
}

TEST_CASE("a ring that has lost tokens of its sinks' places says so") {
  const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
  const auto bound = posenc_test::bind_any(rope | SinkWindow{.sinks = 3, .window = 4}, shape);
  CacheShape small = shape_for(sequence);
  small.capacity = 8;
  auto ring = KeyValueCache<KeyState::raw, float>::ring(small, 3);
  append(ring, 0, sequence, 0, 20, bound);  // 0 1 2 | 15 16 17 18 19
  CHECK_NOTHROW(decoded(sequence.last(1).q, ring, bound));
  ring.evict(0, 1, 2);  // 0 1 . | 14 15 16 17 18, and the token with index 2 was overwritten
  CHECK(ring.index(0, 2) == 14);
  CHECK_THROWS_WITH(decoded(sequence.last(1).q, ring, bound),
                    ContainsSubstring("has overwritten token 2, which the mask lets query 18 see"));
  ring.evict(0, 2, 14);  // all those
  CHECK(ring.index(0, 2) == 2);
  CHECK(ring.next_index(0) == 7);
  CHECK_NOTHROW(decoded(sequence.last(1).q, ring, bound));
}

}  // namespace edited_cases
}  // namespace decode_test
