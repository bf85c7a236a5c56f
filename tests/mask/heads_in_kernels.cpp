// SPDX-License-Identifier: MIT
//
// Masks that differ by head in attention and decoding: against a softmax over what each head may see, and how many
// scores were computed for it.
#include <posenc/attention/key_weights.hpp>
#include <posenc/attention/ragged.hpp>
#include <posenc/attention/reference.hpp>
#include <posenc/attention/vertical_slash.hpp>
#include <posenc/mask/a_shape.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/duo_attention.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/mask/vertical_slash.hpp>
#include <posenc/score/score_map.hpp>

#include "../support/catch.hpp"
#include "../support/levels.hpp"
#include "../support/sequence.hpp"

#include <array>

using namespace posenc;

namespace heads_in_kernels_cases {

constexpr BindOptions options{.num_heads = Sequence::heads, .num_kv_heads = Sequence::kv_heads};

VerticalSlash example() {
  VerticalSlash pattern;
  for (Index h = 0; h < Sequence::heads; ++h) {
    VerticalSlash::Head head = VerticalSlash::Head::a_shape(2 * h, 3);
    head.columns.insert(head.columns.end(), {100 + h, 130, 131});
    head.slashes.insert(head.slashes.end(), {40, 41 + h, 97});
    pattern.heads.push_back(head);
  }
  return pattern;
}

/// Prefill, the same in a ragged batch, a continued prompt, and decoding are the softmax over what is shown.
template <class M>
void check_mask(const M& mask, Index tokens) {
  const Sequence s(tokens);
  const auto shown =
      mask.prepare({.num_heads = Sequence::heads, .num_kv_heads = Sequence::kv_heads});
  const Rows expected = s.dense(
      [](Index i, Index j) { return i - j; }, [](Index, Index) { return true; },
      [&](Index h, Index i, Index j) { return shown.visible({i, j, i, j, h, 0}) ? 0 : -HUGE_VAL; });
  const auto bound = bind(Sequence::rope | mask, options);
  const Index row = Sequence::heads * Sequence::width;
  posenc_test::at_every_level([&] {
    CHECK(difference(s.attend(bound), expected) < 1e-12);
    auto raw = KeyValueCache<KeyState::raw, double>::contiguous(Sequence::cache_of(tokens));
    CHECK(difference(s.decode(raw, Sequence::rope | mask), expected) < 1e-12);
  });
  auto rotated = KeyValueCache<KeyState::rotated, double>::contiguous(Sequence::cache_of(tokens));
  CHECK(difference(s.decode(rotated, Sequence::rope | mask), expected) < 1e-12);

  const Index last = tokens / 3;
  Rows end(static_cast<std::size_t>(last * row));
  const TensorView<double> y(end.data(), last, Sequence::heads, Sequence::width);
  attention(s.queries().slice(tokens - last, last), s.keys(), s.values(), y, bound);
  const Rows expected_end(expected.end() - last * row, expected.end());
  CHECK(difference(end, expected_end) < 1e-12);
  decode(s.queries().slice(tokens - last, last), rotated, y, bound);
  CHECK(difference(end, expected_end) < 1e-12);

  const ReferenceResult reference =
      reference_attention(s.queries(), s.keys(), s.values(), bound, AttentionOptions<double>{});
  CHECK(difference(Rows(reference.out.begin(), reference.out.end()), expected) < 1e-12);

  // Two sequences side by side: the first tokens again, and all.
  std::vector<Index> indices;
  for (Index t = 0; t < last; ++t) indices.push_back(t);
  for (Index t = 0; t < tokens; ++t) indices.push_back(t);
  const Sequence both = s.some(indices);
  Rows out(static_cast<std::size_t>(both.tokens * row));
  const std::vector<Index> starts{0, last, last + tokens};
  attention(both.queries(), both.keys(), both.values(),
            TensorView(out.data(), both.tokens, Sequence::heads, Sequence::width),
            RaggedBatch{.starts = starts}, bound);
  CHECK(difference(Rows(out.begin(), out.begin() + last * row),
                   Rows(expected.begin(), expected.begin() + last * row)) < 1e-12);
  CHECK(difference(Rows(out.begin() + last * row, out.end()), expected) < 1e-12);
}

TEST_CASE("masks by head: attention and decoding are the softmax over what each head sees") {
  for (const Index tokens : {3, 64, 290}) {
    check_mask(AShape{{{0, 1}, {3, 20}, {90, 5}, {1, SlidingWindow::unlimited}}}, tokens);
    check_mask(DuoAttention{{true, false}, 2, 17}, tokens);
    check_mask(DuoAttention{{false, true, true, false}, 2, 17}, tokens);
    check_mask(example(), tokens);
  }
}

/// Steps of `queries` tokens over a cache of each kind, of which a ring has overwritten what no head sees.
template <KeyState State, class M>
void check_caches(const M& mask, Index tokens, Index queries, Index sinks, Index ring) {
  using Cache = KeyValueCache<State, double>;
  const Sequence s(tokens);
  const HeadShape heads{.num_heads = Sequence::heads, .num_kv_heads = Sequence::kv_heads};
  const auto shown = mask.prepare(heads);
  const Rows expected = s.dense(
      [](Index i, Index j) { return i - j; }, [](Index, Index) { return true; },
      [&](Index h, Index i, Index j) { return shown.visible({i, j, i, j, h, 0}) ? 0 : -HUGE_VAL; });
  const auto bound = bind(Sequence::rope | mask, options);
  constexpr Index page = 24;
  const CacheShape shape = Sequence::cache_of(tokens);
  const Index pages = (tokens - 1) / page + 1;
  Rows keys(static_cast<std::size_t>(pages * page * Sequence::kv_heads * Sequence::width)),
      values = keys;
  std::vector<Index> table;
  for (Index p = pages; p-- > 0;) table.push_back(p);
  std::vector<Cache> caches;
  caches.push_back(Cache::contiguous(shape));
  caches.push_back(Cache::paged(shape, {keys.data(), values.data(), pages, page}));
  caches.back().set_pages(0, table);
  if (ring > 0) caches.push_back(Cache::ring(Sequence::cache_of(ring), sinks));
  for (Cache& cache : caches) {
    Rows out(s.q.size());
    for (Index t = 0; t < tokens; t += queries) {
      const Index n = std::min(queries, tokens - t);
      cache.append(0, s.keys().slice(t, n), s.values().slice(t, n), bound);
      decode(s.queries().slice(t, n), cache,
             TensorView(out.data() + t * Sequence::heads * Sequence::width, n, Sequence::heads,
                        Sequence::width),
             bound);
    }
    CHECK(difference(out, expected) < 1e-12);
  }
}

TEST_CASE("masks by head: drafts over contiguous, paged and ring caches") {
  const AShape reach{{{4, 20}, {3, 33}, {0, 5}, {2, 16}}};
  const VerticalSlash pattern = example();
  for (const Index queries : {1, 3, 17}) {
    INFO(queries << " queries");
    check_caches<KeyState::rotated>(reach, 200, queries, 4, 4 + 33 + queries - 1);
    check_caches<KeyState::raw>(reach, 200, queries, 4, 4 + 33 + queries - 1);
    check_caches<KeyState::rotated>(DuoAttention{{true, false}, 2, 17}, 200, queries, 0, 0);
    check_caches<KeyState::rotated>(DuoAttention{{false, false}, 2, 17}, 200, queries, 2,
                                    2 + 17 + queries - 1);
    check_caches<KeyState::raw>(pattern, 200, queries, 0, 0);
  }
}

/// A map of scores that changes none and counts those that are computed, by head.
struct Counts {
  mutable std::array<Index, Sequence::heads> heads{};
};
auto counting(Counts& counts) {
  return score_map([at = &counts](double x, const Score& score) {
    ++at->heads[static_cast<std::size_t>(score.head)];
    return x;
  });
}

/// Scores of attention, or of a step of so many queries.
template <class M>
std::array<Index, Sequence::heads> computed(const Sequence& s, const M& mask, Index decoded) {
  Counts counts;
  const auto encoding = Sequence::rope | counting(counts) | mask;
  if (decoded == 0) {
    (void)s.attend(bind(encoding, options));
    return counts.heads;
  }
  const auto bound = bind(encoding, options);
  auto cache = KeyValueCache<KeyState::rotated, double>::contiguous(Sequence::cache_of(s.tokens));
  cache.append(0, s.keys(), s.values(), bound);
  Rows out(static_cast<std::size_t>(decoded * Sequence::heads * Sequence::width));
  decode(s.queries().slice(s.tokens - decoded, decoded), cache,
         TensorView(out.data(), decoded, Sequence::heads, Sequence::width), bound);
  return counts.heads;
}

TEST_CASE("masks by head: what a head does not see is not computed for it") {
  constexpr Index tokens = 2048, window = 64;
  const Sequence s(tokens);
  const auto all = computed(s, Causal{}, 0), one = computed(s, Causal{}, 1);
  CHECK(all[0] >= tokens * (tokens + 1) / 2);

  const DuoAttention duo{{true, false}, 4, window};
  const auto prefill = computed(s, duo, 0), step = computed(s, duo, 1);
  for (const std::size_t h : {0U, 1U}) {
    CHECK(prefill[h] == all[h]);
    CHECK(step[h] == one[h]);
  }
  for (const std::size_t h : {2U, 3U}) {
    CHECK(prefill[h] >= tokens * window - window * window / 2);
    CHECK(prefill[h] <= all[h] / 3);
    CHECK(step[h] >= 4 + window);
    CHECK(step[h] <= one[h] / 4);
  }

  // Within a group only prefill tells heads apart: decoding reads a key once for all its queries.
  const AShape shape{{{4, SlidingWindow::unlimited}, {4, 32}, {4, 32}, {0, 16}}};
  const auto apart = computed(s, shape, 0);
  CHECK(apart[0] == all[0]);
  for (const std::size_t h : {1U, 2U, 3U}) CHECK(apart[h] <= all[h] / 3);

  // Tiles that no column and no slash crosses, also between those that some do.
  VerticalSlash pattern;
  for (Index h = 0; h < Sequence::heads; ++h)
    pattern.heads.push_back({{0, 1, 2, 3, 1000}, {0, 1, 2, 3, 600, 601}});
  const auto sparse = computed(s, pattern, 0), sparse_step = computed(s, pattern, 1);
  for (std::size_t h = 0; h < sparse.size(); ++h) {
    CHECK(sparse[h] >= tokens * 8);
    CHECK(sparse[h] <= all[h] / 2);
    CHECK(sparse_step[h] <= one[h] / 2);
  }

  // A draft, by the tiles of decoding and by those of prefill.
  for (const Index queries : {4, 70}) {
    INFO(queries << " queries");
    const auto full = computed(s, Causal{}, queries), by_duo = computed(s, duo, queries),
               by_pattern = computed(s, pattern, queries);
    const AShape alike{
        {{4, SlidingWindow::unlimited}, {4, SlidingWindow::unlimited}, {4, 32}, {0, 16}}};
    const auto by_shape = computed(s, alike, queries);
    for (std::size_t h = 0; h < full.size(); ++h) {
      CHECK(full[h] >= queries * (tokens - queries));
      CHECK(by_pattern[h] <= full[h] / 2);
      if (h >= 2) {
        CHECK(by_duo[h] >= queries * (4 + window));
        CHECK(by_duo[h] <= full[h] / 4);
        CHECK(by_shape[h] <= full[h] / 4);
      } else {
        CHECK(by_duo[h] == full[h]);
        CHECK(by_shape[h] == full[h]);
      }
    }
  }
}

TEST_CASE("estimate_vertical_slash: the weights of the last queries of a prompt") {
  constexpr Index tokens = 300;
  const Sequence s(tokens);
  const auto bound = bind(Sequence::rope | Causal{}, options);
  const std::array<VerticalSlash::Size, Sequence::heads> sizes{
      {{40, 110}, {35, 120}, {60, 101}, {50, 130}}};
  const VerticalSlash pattern = estimate_vertical_slash(s.queries(), s.keys(), bound, sizes);
  REQUIRE(pattern.heads.size() == 4);
  // Weights by an identity in place of the values.
  Rows identity(tokens * Sequence::kv_heads * tokens);
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < Sequence::kv_heads; ++h)
      identity[static_cast<std::size_t>((t * Sequence::kv_heads + h) * tokens + t)] = 1;
  Rows weights(64 * Sequence::heads * tokens);
  attention(s.queries().slice(tokens - 64, 64), s.keys(),
            TensorView<const double>(identity.data(), tokens, Sequence::kv_heads, tokens),
            TensorView(weights.data(), 64, Sequence::heads, tokens), bound);
  for (Index h = 0; h < Sequence::heads; ++h) {
    Rows of_head;
    for (Index n = 0; n < 64; ++n)
      of_head.insert(of_head.end(), weights.begin() + (n * Sequence::heads + h) * tokens,
                     weights.begin() + (n * Sequence::heads + h + 1) * tokens);
    const auto expected = VerticalSlash::from_weights(std::span<const double>(of_head), 64,
                                                      sizes[static_cast<std::size_t>(h)]);
    CHECK(pattern.heads[static_cast<std::size_t>(h)].columns == expected.columns);
    CHECK(pattern.heads[static_cast<std::size_t>(h)].slashes == expected.slashes);
  }
  // One size for all; a prompt of fewer tokens than 64, whose pattern is everything.
  const Sequence few(40);
  const auto all = estimate_vertical_slash(few.queries(), few.keys(), bound);
  CHECK(difference(few.attend(bind(Sequence::rope | all, options)), few.attend(bound)) < 1e-14);

  CHECK_THROWS_WITH(estimate_vertical_slash(s.queries(), s.keys(), bound,
                                            std::array<VerticalSlash::Size, 2>{}),
                    ContainsSubstring("each of the 4 query heads or one for all, got 2"));
  CHECK_THROWS_WITH(estimate_vertical_slash(s.queries(), s.keys().slice(0, 10), bound),
                    ContainsSubstring("must be the last of the 10 tokens that have keys, got 300"));
}

}  // namespace heads_in_kernels_cases
