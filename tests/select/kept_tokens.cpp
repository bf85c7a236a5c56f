// SPDX-License-Identifier: MIT
//
// Attention mass beside a cache, and what HeavyHitters and SnapKV keep by it, against weights that are computed in double.
#include <posenc/cache/rerotate.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/select/kept_tokens.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"
#include "../support/sequence.hpp"

#include <numeric>
#include <set>

using namespace posenc;

namespace kept_tokens_cases {

constexpr auto rope = Sequence::rope;
constexpr Index heads = Sequence::heads, kv_heads = Sequence::kv_heads, width = Sequence::width;
constexpr BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
using Cache = KeyValueCache<KeyState::raw, double>;
using Sums = std::vector<double>;

/// A sequence that is generated, and the mass of its tokens after each of `counted` steps by the formula.
struct Session {
  Sequence s;
  Cache cache;
  AttentionMass mass;
  Bound<std::remove_cvref_t<decltype(rope | Causal{})>> bound = bind(rope | Causal{}, options);

  explicit Session(Index tokens, Index sequences = 1)
      : s(tokens),
        cache(Cache::contiguous(
            {.sequences = sequences, .kv_heads = kv_heads, .head_dim = width, .capacity = tokens})),
        mass(cache, heads) {}
  /// Appends tokens [first, last), and adds their weights together.
  void read(Index first, Index last, bool counts = true) {
    const Index n = last - first;
    cache.append(0, s.keys().slice(first, n), s.values().slice(first, n), bound);
    std::vector<double> out(static_cast<std::size_t>(n * heads * width)),
        lse(static_cast<std::size_t>(n * heads));
    decode(s.queries().slice(first, n), cache, TensorView(out.data(), n, heads, width), bound,
           {.sequences = std::vector<Index>{0}, .lse = lse});
    if (counts)
      mass.add(s.queries().slice(first, n), cache, 0, std::span<const double>(lse), bound);
  }
};

/// Sums over the queries [from, to) of the weights over the keys [0, to) of a sequence.
Sums formula(const Sequence& s, Index from, Index to) {
  Sums sums(static_cast<std::size_t>(to * heads));
  for (Index n = from; n < to; ++n)
    for (Index h = 0; h < heads; ++h) {
      std::vector<double> w;
      double sum = 0;
      for (Index m = 0; m <= n; ++m) {
        double x = 0;
        for (Index c = 0; c < width / 2; ++c) {
          const double angle = static_cast<double>(n - m) * Sequence::frequency(c);
          const double q0 = s.queries()(n, h, c), q1 = s.queries()(n, h, c + width / 2);
          const double k0 = s.keys()(m, h / 2, c), k1 = s.keys()(m, h / 2, c + width / 2);
          x += (q0 * k0 + q1 * k1) * std::cos(angle) + (q0 * k1 - q1 * k0) * std::sin(angle);
        }
        w.push_back(std::exp(x / 4));
        sum += w.back();
      }
      for (Index m = 0; m <= n; ++m)
        sums[static_cast<std::size_t>(m * heads + h)] += w[static_cast<std::size_t>(m)] / sum;
    }
  return sums;
}
Sums of(Session& session, Index sequence = 0) {
  const auto sums = session.mass.of(session.cache, sequence);
  return {sums.begin(), sums.end()};
}

TEST_CASE("AttentionMass: sums over a prompt and steps") {
  Session a(60);
  a.read(0, 40);
  CHECK(difference(of(a), formula(a.s, 0, 40)) < 1e-12);
  for (Index t = 40; t < 60; ++t) a.read(t, t + 1);
  CHECK(difference(of(a), formula(a.s, 0, 60)) < 1e-12);
  double all = 0;
  for (const double x : of(a)) all += x;
  CHECK(std::abs(all - 60 * heads) < 1e-10);  // the weights of a row are 1 together
}

TEST_CASE("AttentionMass: tokens that go, and tokens that move") {
  Session a(50, 2);
  a.read(0, 30);
  const Sums before = of(a);
  const auto rows = [&](Index first, Index last) {
    return Sums(before.begin() + first * heads, before.begin() + last * heads);
  };
  const auto joined = [](Sums x, const Sums& y) {
    x.insert(x.end(), y.begin(), y.end());
    return x;
  };
  // Appended tokens begin with nothing, and truncate takes them away.
  a.read(30, 34, false);
  CHECK(of(a) == joined(before, Sums(4 * heads)));
  a.cache.truncate(0, 30);
  CHECK(of(a) == before);
  // A copy up to an index; the original is untouched.
  a.mass.fork(a.cache, 0, 1, 12);
  CHECK(of(a, 1) == rows(0, 12));
  CHECK(of(a) == before);
  // An edit in place.
  a.mass.in_place(a.cache, 0, [&] { shift(a.cache, 0, 10, 30, 5); });
  CHECK(a.cache.position(0, 10) == 15);
  CHECK(of(a) == before);
  // Tokens from the middle.
  a.mass.evict(a.cache, 0, 5, 9);
  CHECK(a.cache.tokens(0) == 26);
  CHECK(of(a) == joined(rows(0, 5), rows(9, 30)));
  a.mass.keep(a.cache, 0, std::vector<Position>{0, 3, 7, 20});
  CHECK(of(a) == joined(joined(joined(rows(0, 1), rows(3, 4)), rows(11, 12)), rows(24, 25)));
  // An edit that it did not see: what may have changed begins anew.
  a.cache.evict(1, 4, 6);
  CHECK(of(a, 1) == joined(rows(0, 4), Sums(6 * heads)));
  a.mass.clear(a.cache, 1);
  CHECK(of(a, 1) == Sums(10 * heads));
}

using Tokens = std::set<Index>;
Tokens tokens_of(std::span<const KeyRange> ranges) {
  Tokens all;
  for (const KeyRange& range : ranges)
    for (Index t = 0; t < range.tokens; ++t) all.insert(range.first + t);
  return all;
}
/// The last ones, and the best of the others.
Tokens best(const std::vector<double>& scores, Index tokens, Index recent, Index top) {
  std::vector<Index> order(static_cast<std::size_t>(std::max<Index>(tokens - recent, 0)));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  Tokens kept(order.begin(), order.begin() + std::min<Index>(top, std::ssize(order)));
  for (Index t = std::max<Index>(tokens - recent, 0); t < tokens; ++t) kept.insert(t);
  return kept;
}
/// Sums of the heads of a choice, by token.
std::vector<double> of_heads(const Sums& mass, Index head, Index together) {
  std::vector<double> sums;
  for (std::size_t t = 0; t < mass.size() / heads; ++t) {
    sums.push_back(0);
    for (Index h = head; h < head + together; ++h)
      sums.back() += mass[t * heads + static_cast<std::size_t>(h)];
  }
  return sums;
}

TEST_CASE("HeavyHitters: the most attended tokens and the last ones") {
  Session a(70);
  a.read(0, 70);
  const Sums sums = formula(a.s, 0, 70);
  for (const ChoicePer per : {ChoicePer::query_head, ChoicePer::key_head, ChoicePer::sequence}) {
    Selection chosen;
    keep_tokens(HeavyHitters{.heavy = 9, .recent = 6, .per = per}, a.mass, a.cache, 0,
                {.query = 3, .queries = 2, .heads = heads}, chosen);
    const Index together = per == ChoicePer::query_head ? 1 : per == ChoicePer::key_head ? 2 : 4;
    REQUIRE(chosen.size() == heads / together);
    for (Index c = 0; c < chosen.size(); ++c) {
      CHECK(chosen[c].readers == Selection::Readers{3, 2, c * together, together});
      CHECK(tokens_of(chosen[c].ranges) == best(of_heads(sums, c * together, together), 70, 6, 9));
    }
  }
  Selection all;
  keep_tokens(HeavyHitters{.heavy = 60, .recent = 20}, a.mass, a.cache, 0, {.heads = heads}, all);
  CHECK(std::vector<KeyRange>(all[0].ranges.begin(), all[0].ranges.end()) ==
        std::vector<KeyRange>{{0, 70}});
}

TEST_CASE("HeavyHitters: step by step the cache keeps what algorithm 1 keeps") {
  // A list of tokens with their sums, from which one goes whenever there are too many.
  Session a(80);
  const HeavyHitters method{.heavy = 10, .recent = 8, .per = ChoicePer::sequence};
  std::vector<Index> held;
  Sums sums;
  for (Index t = 0; t < 80; ++t) {
    a.read(t, t + 1);
    held.push_back(t);
    sums.resize(held.size() * heads);
    // The weights of this step over what is held.
    const Sequence part = a.s.some(held);
    for (Index h = 0; h < heads; ++h) {
      std::vector<double> w;
      double sum = 0;
      for (Index m = 0; m < part.tokens; ++m) {
        double x = 0;
        for (Index c = 0; c < width / 2; ++c) {
          const double angle =
              static_cast<double>(t - held[static_cast<std::size_t>(m)]) * Sequence::frequency(c);
          const double q0 = a.s.queries()(t, h, c), q1 = a.s.queries()(t, h, c + width / 2);
          const double k0 = part.keys()(m, h / 2, c), k1 = part.keys()(m, h / 2, c + width / 2);
          x += (q0 * k0 + q1 * k1) * std::cos(angle) + (q0 * k1 - q1 * k0) * std::sin(angle);
        }
        w.push_back(std::exp(x / 4));
        sum += w.back();
      }
      for (std::size_t m = 0; m < w.size(); ++m)
        sums[m * heads + static_cast<std::size_t>(h)] += w[m] / sum;
    }
    const Tokens kept = best(of_heads(sums, 0, heads), std::ssize(held), 8, 10);
    std::vector<Index> next;
    Sums next_sums;
    for (const Index i : kept) {
      next.push_back(held[static_cast<std::size_t>(i)]);
      next_sums.insert(next_sums.end(), sums.begin() + i * heads, sums.begin() + (i + 1) * heads);
    }
    CHECK(evict_tokens(method, a.mass, a.cache, 0) == std::ssize(held) - std::ssize(next));
    held = next, sums = next_sums;
    REQUIRE(a.cache.tokens(0) == std::ssize(held));
    for (Index i = 0; i < std::ssize(held); ++i)
      REQUIRE(a.cache.position(0, i) == held[static_cast<std::size_t>(i)]);
    CHECK(difference(of(a), sums) < 1e-11);
  }
  CHECK(a.cache.tokens(0) == 18);
}

TEST_CASE("SnapKV: what the last queries look at, pooled") {
  for (const SnapKV::Pooling pooling : {SnapKV::Pooling::mean, SnapKV::Pooling::greatest}) {
    Session a(90);
    a.read(0, 78, false);
    a.read(78, 90);
    const SnapKV method{.capacity = 40, .window = 12, .kernel = 5, .pooling = pooling};
    const Sums sums = formula(a.s, 78, 90);
    Selection chosen;
    keep_tokens(method, a.mass, a.cache, 0, {.heads = heads}, chosen);
    REQUIRE(chosen.size() == heads);
    for (Index h = 0; h < heads; ++h) {
      const auto own = of_heads(sums, h, 1);
      std::vector<double> pooled;
      for (Index m = 0; m < 78; ++m) {
        double sum = 0, most = 0;
        for (Index j = m - 2; j <= m + 2; ++j) {
          const double x = j < 0 || j >= 78 ? 0 : own[static_cast<std::size_t>(j)];
          sum += x, most = std::max(most, x);
        }
        // Equal maxima of neighbours are equal floats.
        pooled.push_back(pooling == SnapKV::Pooling::mean
                             ? sum / 5
                             : static_cast<double>(static_cast<float>(most)));
      }
      CHECK(tokens_of(chosen[h].ranges) == best(pooled, 90, 12, 28));
    }
    CHECK(evict_tokens(method, a.mass, a.cache, 0) == 50);
    CHECK(a.cache.tokens(0) == 40);
    CHECK(a.cache.next_position(0) == 90);
    CHECK(evict_tokens(method, a.mass, a.cache, 0) == 0);
  }
  const SnapKV defaults;
  CHECK((defaults.window == 32 && defaults.capacity == 2'048 && defaults.kernel == 5));
}

TEST_CASE("keep_tokens, AttentionMass: what is wrong is said") {
  Session a(10);
  a.read(0, 10);
  Selection chosen;
  const auto keep = [&](const auto& method) {
    keep_tokens(method, a.mass, a.cache, 0, {.heads = heads}, chosen);
  };
  CHECK_THROWS_WITH(keep(HeavyHitters{.heavy = 3}), ContainsSubstring("heavy = 3 and recent = 0"));
  CHECK_THROWS_WITH(keep(SnapKV{.capacity = 5, .window = 5}),
                    ContainsSubstring("window = 5 and capacity = 5"));
  CHECK_THROWS_WITH(keep(SnapKV{.kernel = 4}), ContainsSubstring("must be odd, got 4"));
  CHECK_THROWS_WITH(keep_tokens(SnapKV{}, a.mass, a.cache, 0, {.heads = 2}, chosen),
                    ContainsSubstring("all 4 query heads, got heads [0, 2)"));
  CHECK_THROWS_WITH(AttentionMass(a.cache, 3), ContainsSubstring("2 key heads, got 3"));
  const auto ring = Cache::ring(Sequence::cache_of(20), 4);
  CHECK_THROWS_WITH(AttentionMass(ring, heads), ContainsSubstring("a ring drops"));
  Session other(10, 2);
  CHECK_THROWS_WITH(a.mass.of(other.cache, 0), ContainsSubstring("of another shape"));
}

}  // namespace kept_tokens_cases
