// SPDX-License-Identifier: MIT
//
// Sums of weights by key and the weights of a head: against the reference for every encoding of the gallery, against
// an identity in place of the values, and over caches.
#include <posenc/eigen.hpp>
#include <posenc/gallery.hpp>
#include <posenc/mask/a_shape.hpp>

#include "../support/bind_any.hpp"
#include "../support/levels.hpp"
#include "calls.hpp"

#include <numeric>

using namespace posenc;
using namespace attention_test;

namespace key_weights_cases {

constexpr Index heads = 4, kv_heads = 2, width = 16;
constexpr BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
const RoPE<HalfSplit> rope{.head_dim = width};

template <class A, class B>
double worst(const std::vector<A>& got, const std::vector<B>& expected) {
  double off = got.size() == expected.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < got.size() && i < expected.size(); ++i) {
    const double d = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    off = std::isnan(d) ? HUGE_VAL : std::max(off, d);
  }
  return off;
}

/// Sums of blocks, of weights [query][head][key].
std::vector<double> sums_of(const std::vector<double>& weights, Index queries, Index keys,
                            Index block) {
  std::vector<double> sums(size(((keys - 1) / block + 1) * heads));
  for (Index q = 0; q < queries; ++q)
    for (Index h = 0; h < heads; ++h)
      for (Index k = 0; k < keys; ++k)
        sums[size(k / block * heads + h)] += weights[size((q * heads + h) * keys + k)];
  return sums;
}

template <class T, class BoundT>
std::vector<T> lse_of(const Arguments<T>& call, const BoundT& bound) {
  return attend_in_nan(call, bound).lse;
}

template <class T>
void check(const AnyBound& bound, const Arguments<T>& call, double tolerance) {
  const Index queries = call.q.tokens, keys = call.k.tokens;
  const std::vector<double> expected = reference_weights(call.q, call.k, bound, call.options);
  const std::vector<T> lse = lse_of(call, bound);
  for (const Index block : {Index{1}, Index{7}, Index{64}, keys}) {
    std::vector<double> sums(size(((keys - 1) / block + 1) * heads), NAN), other(sums);
    key_weights(call.q, call.k, lse, sums, block, bound, call.options);
    CHECK(worst(sums, sums_of(expected, queries, keys, block)) <=
          tolerance * static_cast<double>(queries));
    AttentionOptions<T> parallel = call.options;
    parallel.executor = Backwards{5};
    key_weights(call.q, call.k, lse, other, block, bound, parallel);
    CHECK(other == sums);
  }
  for (const Index head : {0, 3}) {
    std::vector<T> matrix(size(queries * keys), T(NAN));
    std::vector<double> of_head;
    for (Index q = 0; q < queries; ++q)
      for (Index k = 0; k < keys; ++k)
        of_head.push_back(expected[size((q * heads + head) * keys + k)]);
    head_weights(call.q, call.k, lse, head, std::span<T>(matrix), bound, call.options);
    CHECK(worst(matrix, of_head) <= tolerance);
  }
}

TEST_CASE("key weights: every encoding of the gallery says what the reference says") {
  const Inputs<float> in(70, 70, heads, kv_heads, width, width);
  int entries = 0;
  for_each_in_gallery<HalfSplit>(
      {.head_dim = width, .num_heads = heads, .trained = 32, .target = 64},
      [&](const GalleryEntry& entry, const auto& encoding) {
        INFO(std::string(entry.name));
        ++entries;
        check<float>(posenc_test::bind_any(encoding, options), in.call(), 4e-6);
      });
  CHECK(entries > 40);
}

TEST_CASE("key weights: several chunks of keys, offsets, blocks of queries, at every level") {
  const Inputs<float> in(300, 1200, heads, kv_heads, width, width);
  const Inputs<double> exact(40, 700, heads, kv_heads, width, width);
  posenc_test::at_every_level([&] {
    check<float>(posenc_test::bind_any(rope | ALiBi{} | SinkLogit{} | Causal{}, options), in.call(),
                 4e-6);
    check<double>(posenc_test::bind_any(rope | ReRoPE{.window = 30} | SlidingWindow{.left = 200},
                                        options),
                  exact.call(), 1e-13);
  });
  Arguments<float> some = in.call();
  some.options.query_offset = 333;
  some.options.key_offset = 17;
  check<float>(posenc_test::bind_any(rope | Causal{}, options), some, 4e-6);
}

TEST_CASE("key weights: what an identity in place of the values brings out") {
  constexpr Index tokens = 50;
  Inputs<double> in(tokens, tokens, heads, kv_heads, width, tokens, 3);
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < kv_heads; ++h)
      for (Index c = 0; c < tokens; ++c) in.v.view()(t, h, c) = t == c ? 1 : 0;
  const auto bound = bind(rope | Causal{}, options);
  const Output<double> result = attend_in_nan(in.call(), bound);
  const TensorView<const double> weights = result.out;
  std::vector<double> sums(tokens * heads), expected(sums.size()), matrix(tokens * tokens), of_head;
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < tokens; ++c) {
        expected[size(c * heads + h)] += weights(t, h, c);
        if (h == 2) of_head.push_back(weights(t, h, c));
      }
  const Arguments<double> call = in.call();
  key_weights(call.q, call.k, result.lse, sums, 1, bound);
  CHECK(worst(sums, expected) <= 1e-13);
  head_weights(call.q, call.k, result.lse, 2, std::span(matrix), bound);
  CHECK(worst(matrix, of_head) <= 1e-14);
  double all = 0;
  for (const double sum : sums) all += sum;
  CHECK_THAT(all, WithinAbs(tokens * heads, 1e-11));  // each row has a weight of one
}

TEST_CASE("key weights: rows that see nothing have none, and hidden keys may hold NaN") {
  constexpr Index tokens = 80;
  Inputs<float> in(tokens, tokens, heads, kv_heads, width, width);
  for (Index c = 0; c < width; ++c) in.k.view()(5, 0, c) = in.k.view()(5, 1, c) = NAN;
  const auto bound = bind(rope | mask([](const Score& at) {
                            return at.key_index != 5 && at.query_index > 9;
                          }) | Causal{},
                          options);
  const Arguments<float> call = in.call();
  const std::vector<float> lse = lse_of(call, bound);
  std::vector<double> sums(tokens * heads, NAN);
  key_weights(call.q, call.k, lse, sums, 1, bound);
  double all = 0;
  for (const double sum : sums) all += sum;
  CHECK_THAT(all, WithinAbs((tokens - 10) * heads, 1e-3));
  for (Index h = 0; h < heads; ++h) CHECK(sums[size(5 * heads + h)] == 0);
}

template <KeyState State, class T>
void check_cache(double tolerance) {
  using U = arithmetic_t<T>;
  constexpr Index tokens = 620, queries = 13;
  Inputs<U> in(tokens, tokens, heads, kv_heads, width, width);
  for (Index t = 0; t < tokens; ++t)  // exact in T
    for (Index h = 0; h < kv_heads; ++h)
      for (Index c = 0; c < width; ++c) {
        U& key = in.k.view()(t, h, c);
        key = widen(narrow<T>(key));
      }
  const Arguments<U> call = in.call();
  const auto bound = posenc_test::bind_any(rope | ALiBi{} | Causal{}, options);
  auto cache = KeyValueCache<State, T>::contiguous(
      {.sequences = 2, .kv_heads = kv_heads, .head_dim = width, .capacity = tokens});
  cache.append(1, call.k, call.v, bound);
  const TensorView<const U> q = call.q.slice(tokens - queries, queries);
  Output<U> result(Arguments<U>{q, call.k, call.v});
  const std::vector<Index> second{1};
  decode(q, cache, result.out.view(), bound, {.sequences = second, .lse = result.lse});
  std::vector<double> sums(size(((tokens - 1) / 16 + 1) * heads), NAN);
  key_weights(q, cache, 1, std::span<const U>(result.lse), sums, 16, bound);
  const std::vector<double> expected = reference_weights(q, call.k, bound);
  CHECK(worst(sums, sums_of(expected, queries, tokens, 16)) <= tolerance);
  std::vector<U> matrix(size(queries * tokens));
  head_weights(q, cache, 1, std::span<const U>(result.lse), 1, std::span<U>(matrix), bound);
  std::vector<double> of_head;
  for (Index r = 0; r < queries; ++r)
    for (Index k = 0; k < tokens; ++k)
      of_head.push_back(expected[size((r * heads + 1) * tokens + k)]);
  CHECK(worst(matrix, of_head) <= tolerance);
}
TEST_CASE("key weights: of a sequence of a cache, raw, rotated and of 16 bits") {
  check_cache<KeyState::raw, float>(5e-5);
  check_cache<KeyState::rotated, float>(5e-5);
  check_cache<KeyState::rotated, double>(1e-11);
  check_cache<KeyState::raw, Eigen::bfloat16>(5e-5);
}

TEST_CASE("head weights: of drafts over rings and pages, as masks of each head show") {
  constexpr Index tokens = 90, queries = 5, page = 16, sinks = 3, recent = 30;
  Inputs<double> in(tokens, tokens, heads, kv_heads, width, width);
  const Arguments<double> call = in.call();
  const AShape shown{{{3, 20}, {2, 26}, {0, 5}, {3, 11}}};
  const AnyBound bound = posenc_test::bind_any(rope | ALiBi{} | shown, options);
  using Cache = KeyValueCache<KeyState::rotated, double>;
  const CacheShape shape{.kv_heads = kv_heads, .head_dim = width, .capacity = tokens};
  std::vector<double> keys(6 * page * kv_heads * width), values = keys;
  Cache paged = Cache::paged(shape, {keys.data(), values.data(), 6, page});
  paged.set_pages(0, std::vector<Index>{5, 0, 4, 1, 3, 2});
  CacheShape small = shape;
  small.capacity = sinks + recent;
  Cache ring = Cache::ring(small, sinks);
  const TensorView<const double> q = call.q.slice(tokens - queries, queries);
  const std::vector<double> expected = reference_weights(q, call.k, bound);
  for (Cache* cache : {&paged, &ring}) {
    for (Index t = 0; t < tokens; t += 9)
      cache->append(0, call.k.slice(t, 9), call.v.slice(t, 9), bound);
    const Index held = cache->tokens(0);
    Output<double> result(Arguments<double>{q, call.k, call.v});
    decode(q, *cache, result.out.view(), bound, {.lse = result.lse});
    std::vector<double> sums(size(held * heads), NAN), expected_sums(sums.size());
    key_weights(q, *cache, 0, std::span<const double>(result.lse), sums, 1, bound);
    for (Index h = 0; h < heads; ++h) {
      std::vector<double> matrix(size(queries * held), NAN), of_head;
      head_weights(q, *cache, 0, std::span<const double>(result.lse), h, std::span<double>(matrix),
                   bound);
      for (Index r = 0; r < queries; ++r)
        for (Index rank = 0; rank < held; ++rank) {
          of_head.push_back(expected[size((r * heads + h) * tokens + cache->index(0, rank))]);
          expected_sums[size(rank * heads + h)] += of_head.back();
        }
      CHECK(worst(matrix, of_head) <= 1e-12);
      for (Index r = 0; r < queries; ++r)  // what is left in a ring is all that has weight
        CHECK_THAT(std::accumulate(of_head.begin() + r * held, of_head.begin() + (r + 1) * held,
                                   0.0),
                   WithinAbs(1, 1e-12));
    }
    CHECK(worst(sums, expected_sums) <= 1e-12);
  }
}

TEST_CASE("key weights: what is wrong is said") {
  const Inputs<float> in(20, 20, heads, kv_heads, width, width);
  const Arguments<float> call = in.call();
  const auto bound = bind(rope | Causal{}, options);
  const std::vector<float> lse = lse_of(call, bound), none;
  std::vector<double> sums(20 * heads);
  std::vector<float> matrix(400);
  const auto sums_with = [&](const std::vector<float>& own, Index block) {
    key_weights(call.q, call.k, own, sums, block, bound);
  };
  CHECK_THROWS_WITH(sums_with(none, 1), ContainsSubstring("lse is empty"));
  CHECK_THROWS_WITH(
      sums_with(lse, 2),
      ContainsSubstring("sums has 80 elements for 20 keys in blocks of 2 and 4 heads."));
  CHECK_THROWS_WITH(sums_with(lse, 0), ContainsSubstring("block must be positive, got 0."));
  CHECK_THROWS_WITH(head_weights(call.q, call.k, lse, 4, std::span<float>(matrix), bound),
                    ContainsSubstring("there are heads 0 to 3, got 4."));
  CHECK_THROWS_WITH(head_weights(call.q, call.k, lse, -1, std::span<float>(matrix), bound),
                    ContainsSubstring("there are heads 0 to 3, got -1."));
  std::vector<float> written = lse;
  CHECK_THROWS_WITH(key_weights(call.q, call.k, lse, sums, 1, bound, {.lse = written}),
                    ContainsSubstring("which are not written here"));
  matrix.pop_back();
  CHECK_THROWS_WITH(head_weights(call.q, call.k, lse, 0, std::span<float>(matrix), bound),
                    ContainsSubstring("weights has 399 elements for 20 queries and 20 keys."));
}

}  // namespace key_weights_cases
