// SPDX-License-Identifier: MIT
//
// ChosenBlocks as a mask, and choose_blocks against choices that are computed from the formulas, in double.
#include <posenc/attention/reference.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/select/choose_blocks.hpp>
#include <posenc/select/moba.hpp>
#include <posenc/select/nsa_selection.hpp>
#include <posenc/select/quest.hpp>

#include "../mask/heads.hpp"
#include "../support/backwards.hpp"
#include "../support/levels.hpp"
#include "../support/sequence.hpp"

#include <cmath>
#include <functional>
#include <set>
#include <utility>

using namespace posenc;

namespace chosen_blocks_cases {

constexpr auto rope = Sequence::rope;
constexpr Index heads = Sequence::heads, kv_heads = Sequence::kv_heads, width = Sequence::width;
constexpr BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
constexpr HeadShape shape{.num_heads = heads, .num_kv_heads = kv_heads};

TEST_CASE("ChosenBlocks: pairs and tiles") {
  std::mt19937 random(3);
  for (const BlockSets::Sizes& sizes : std::vector<BlockSets::Sizes>{
           {.queries = 40, .first = 10, .query_block = 7, .block = 5, .blocks = 9, .choices = 4},
           {.queries = 70, .query_block = 1, .block = 1, .blocks = 70, .choices = 2},
           {.queries = 64, .first = 3, .query_block = 16, .block = 16, .blocks = 4},
           {.queries = 20, .first = 60, .query_block = 64, .block = 2, .blocks = 64}}) {
    BlockSets sets(sizes);
    std::vector<bool> has;
    for (Index c = 0; c < sizes.choices; ++c)
      for (Index g = 0; g < sets.groups(); ++g)
        for (Index b = 0; b < sizes.blocks; ++b) {
          has.push_back(posenc_test::integer(random, 0, 9) < (g % 3 == 0 ? 9 : 3));
          if (has.back()) sets.add(c, g, b, b + 1);
        }
    const Index groups = sets.groups();
    const ChosenBlocks mask(std::move(sets));
    CHECK(sentences_of(mask, shape).empty());
    mask_of_heads_is(
        mask.prepare(shape), heads,
        [&](Index head, Position query, Position key) {
          const Position row = query - sizes.first;
          if (row < 0 || row >= sizes.queries) return true;
          if (key >= sizes.blocks * sizes.block) return false;
          const Index choice = head / (heads / sizes.choices);
          return bool{has[static_cast<std::size_t>(
              (choice * groups + row / sizes.query_block) * sizes.blocks + key / sizes.block)]};
        },
        Fullness::exact, 80);
  }
}

TEST_CASE("ChosenBlocks: other sequences and no choice at all see everything") {
  const ChosenBlocks none(BlockSets({.queries = 50, .blocks = 2, .sequence = 3}));
  const auto mask = none.prepare(shape);
  const Score other{.query_index = 4, .key_index = 3, .sequence = 2};
  Score own = other;
  own.sequence = 3;
  CHECK(mask.visible(other));
  CHECK(!mask.visible(own));
  Tile tile = tile_of({0, 3}, {0, 3});
  CHECK(mask.classify(tile) == TileClass::full);
  tile.sequence = 3;
  CHECK(mask.classify(tile) == TileClass::none);
  CHECK(ChosenBlocks{}.prepare(shape).classify(tile) == TileClass::full);
  CHECK(sentences_of(ChosenBlocks{}, shape).empty());
}

TEST_CASE("ChosenBlocks: quotients by reciprocals") {
  for (const Index n : {1, 2, 3, 5, 7, 63, 64, 1000, 999'999'937}) {
    const detail::DivideBy by(n);
    for (const Index quotient : {Index{0}, Index{1}, Index{12'345}, (Index{1} << 40) / n})
      for (Index i = std::max<Index>(quotient * n - 1, 0); i <= quotient * n + 1; ++i)
        CHECK(by(i) == i / n);
  }
}

// --- Choices by the formulas -----------------------------------------------------------------------

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}
/// The queries and keys of a sequence, rotated.
struct Rotated {
  std::vector<std::vector<double>> queries, keys;

  explicit Rotated(const Sequence& s) {
    for (Index t = 0; t < s.tokens; ++t) {
      const auto at = static_cast<double>(t);
      for (Index h = 0; h < heads; ++h)
        queries.push_back(
            Sequence::turned(&s.q[static_cast<std::size_t>((t * heads + h) * width)], at));
      for (Index h = 0; h < kv_heads; ++h)
        keys.push_back(
            Sequence::turned(&s.k[static_cast<std::size_t>((t * kv_heads + h) * width)], at));
    }
  }
  [[nodiscard]] const std::vector<double>& query(Index t, Index h) const {
    return queries[static_cast<std::size_t>(t * heads + h)];
  }
  [[nodiscard]] const std::vector<double>& key(Index t, Index h) const {
    return keys[static_cast<std::size_t>(t * kv_heads + h)];
  }
  /// Of the tokens [b size, (b + 1) size).
  [[nodiscard]] std::vector<double> mean_key(Index b, Index size, Index h) const {
    std::vector<double> mean(width);
    for (Index t = b * size; t < (b + 1) * size; ++t)
      for (std::size_t c = 0; c < width; ++c) mean[c] += key(t, h)[c] / static_cast<double>(size);
    return mean;
  }
};

using Blocks = std::set<Index>;
/// The best of [first, last), which are added to a set.
void add_best(Blocks& blocks, Index first, Index last, Index top,
              const std::function<double(Index)>& score) {
  std::vector<std::pair<double, Index>> order;
  for (Index b = first; b < last; ++b) order.emplace_back(score(b), b);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (Index i = 0; i < std::min<Index>(top, std::ssize(order)); ++i)
    blocks.insert(order[static_cast<std::size_t>(i)].second);
}
void sets_are(const BlockSets& sets, const std::function<Blocks(Index, Index)>& expected) {
  int wrong = 0;
  for (Index c = 0; c < sets.sizes().choices; ++c)
    for (Index g = 0; g < sets.groups(); ++g) {
      const Blocks blocks = expected(c, g);
      for (Index b = 0; b < sets.sizes().blocks; ++b)
        wrong += sets.contains(c, g, b) != blocks.contains(b);
    }
  CHECK(wrong == 0);
}

TEST_CASE("choose_blocks: MoBA, query by query") {
  const Sequence s(83);
  const Rotated rows(s);
  const MoBA moba{.block = 8, .topk = 3};
  const auto bound = bind(rope | Causal{}, options);
  posenc_test::at_every_level([&] {
    const ChosenBlocks chosen = choose_blocks(s.queries(), s.keys(), moba, bound);
    CHECK(chosen.sets().sizes().choices == heads);
    sets_are(chosen.sets(), [&](Index head, Index n) {
      const Index own = n / 8;
      Blocks blocks{own};
      add_best(blocks, 0, own, 2,
               [&](Index b) { return dot(rows.query(n, head), rows.mean_key(b, 8, head / 2)); });
      return blocks;
    });
  });
}

TEST_CASE("choose_blocks: groups of queries add their scores, and heads that share a choice") {
  const Sequence s(101);
  const Rotated rows(s);
  const auto bound = bind(rope | Causal{}, options);
  for (const ChoicePer per : {ChoicePer::query_head, ChoicePer::key_head, ChoicePer::sequence})
    for (const Index query_block : {1, 5, 20, 64}) {
      const MoBA moba{.block = 6, .topk = 4, .per = per};
      const Sequence& all = s;
      const Index first = 31, queries = all.tokens - first;
      const ChosenBlocks chosen = choose_blocks(s.queries().slice(first, queries), s.keys(), moba,
                                                bound, {.query_block = query_block});
      CHECK(chosen.sets().sizes().first == first);
      const Index choices = chosen.sets().sizes().choices, together = heads / choices;
      CHECK(choices == (per == ChoicePer::query_head ? 4 : per == ChoicePer::key_head ? 2 : 1));
      sets_are(chosen.sets(), [&](Index choice, Index g) {
        const Index from = first + g * query_block, to = std::min(from + query_block, s.tokens),
                    own = from / 6;
        Blocks blocks;
        for (Index b = own; b <= (to - 1) / 6; ++b) blocks.insert(b);
        std::vector<double> scores;
        for (Index b = 0; b < own; ++b) {
          double sum = 0;
          for (Index h = choice * together; h < (choice + 1) * together; ++h)
            for (Index n = from; n < to; ++n)
              sum += dot(rows.query(n, h), rows.mean_key(b, 6, h / 2));
          scores.push_back(sum);
        }
        add_best(blocks, 0, own, 3, [&](Index b) { return scores[static_cast<std::size_t>(b)]; });
        return blocks;
      });
      // The same on other threads, in another order.
      const ChosenBlocks backwards =
          choose_blocks(s.queries().slice(first, queries), s.keys(), moba, bound,
                        {.query_block = query_block, .executor = posenc_test::Backwards{3}});
      CHECK(backwards.sets().bits() == chosen.sets().bits());
    }
}

TEST_CASE("choose_blocks: NSA adds probabilities of each query, Quest has bounds") {
  const Sequence s(90);
  const Rotated rows(s);
  const auto bound = bind(rope | Causal{}, options);
  const NSASelection nsa{.block = 5, .blocks = 5};
  for (const Index query_block : {1, 7}) {
    const ChosenBlocks chosen =
        choose_blocks(s.queries(), s.keys(), nsa, bound, {.query_block = query_block});
    sets_are(chosen.sets(), [&](Index kv, Index g) {
      const Index from = g * query_block, to = std::min(from + query_block, s.tokens),
                  own = from / 5;
      Blocks blocks{0};
      for (Index b = std::max<Index>(own - 1, 0); b <= (to - 1) / 5; ++b) blocks.insert(b);
      std::vector<double> sums(static_cast<std::size_t>(own));
      for (Index h = 2 * kv; h < 2 * kv + 2; ++h)
        for (Index n = from; n < to; ++n) {
          std::vector<double> w;
          double sum = 0;
          for (Index b = 0; b < (n + 1) / 5; ++b) {
            w.push_back(std::exp(dot(rows.query(n, h), rows.mean_key(b, 5, kv)) / 4));
            sum += w.back();
          }
          for (std::size_t b = 0; b < std::min(w.size(), sums.size()); ++b) sums[b] += w[b] / sum;
        }
      add_best(blocks, 1, own - 1, 2, [&](Index b) { return sums[static_cast<std::size_t>(b)]; });
      return blocks;
    });
  }
  const Quest quest{.block = 4, .budget = 12};
  const ChosenBlocks chosen = choose_blocks(s.queries(), s.keys(), quest, bound);
  sets_are(chosen.sets(), [&](Index h, Index n) {
    Blocks blocks{n / 4};
    add_best(blocks, 0, n / 4, 2, [&](Index b) {
      double sum = 0;
      for (std::size_t c = 0; c < width; ++c) {
        double most = -HUGE_VAL;
        for (Index t = 4 * b; t < 4 * b + 4; ++t)
          most = std::max(most, rows.query(n, h)[c] * rows.key(t, h / 2)[c]);
        sum += most;
      }
      return sum;
    });
    return blocks;
  });
}

// --- Attention -------------------------------------------------------------------------------------

TEST_CASE("choose_blocks: all chunks are causal attention, the own chunk is a block-diagonal one") {
  const Sequence s(150);
  const auto bound = bind(rope | Causal{}, options);
  const Rows causal = s.attend(bound);
  for (const Index query_block : {1, 64}) {
    const auto choose = [&](Index topk) {
      return choose_blocks(s.queries(), s.keys(), MoBA{.block = 16, .topk = topk}, bound,
                           {.query_block = query_block});
    };
    CHECK(s.attend(bind(rope | Causal{} | choose(10), options)) == causal);
    if (query_block == 1)
      CHECK(difference(s.attend(bind(rope | Causal{} | choose(1), options)),
                       s.dense([](Index i, Index j) { return i - j; },
                               [](Index i, Index j) { return j <= i && i / 16 == j / 16; })) <
            1e-12);
  }
}

TEST_CASE("choose_blocks: the kernels, the dense reference and decoding agree on a choice") {
  for (const Index tokens : {37, 300}) {
    const Sequence s(tokens);
    for (const auto& [moba, query_block] :
         std::vector<std::pair<MoBA, Index>>{{{.block = 16, .topk = 3}, 1},
                                             {{.block = 20, .topk = 2}, 33},
                                             {{.block = 64, .topk = 2}, 64}}) {
      const auto plain = bind(rope | Causal{}, options);
      const auto encoding =
          rope | Causal{} |
          choose_blocks(s.queries(), s.keys(), moba, plain, {.query_block = query_block});
      const auto bound = bind(encoding, options);
      posenc_test::at_every_level([&] {
        const ReferenceResult expected = reference_attention(s.queries(), s.keys(), s.values(),
                                                             bound, AttentionOptions<double>{});
        CHECK(difference(s.attend(bound), Rows(expected.out.begin(), expected.out.end())) < 1e-12);
        auto cache =
            KeyValueCache<KeyState::rotated, double>::contiguous(Sequence::cache_of(tokens));
        CHECK(difference(s.decode(cache, encoding),
                         Rows(expected.out.begin(), expected.out.end())) < 1e-12);
      });
    }
  }
}

TEST_CASE("choose_blocks: elements, positions and lengths that no block fills") {
  const Sequence s(70);
  const auto bound = bind(rope | Causal{}, options);
  const MoBA moba{.block = 8, .topk = 3};
  const auto sets = choose_blocks(s.queries(), s.keys(), moba, bound).sets().bits();
  std::vector<float> q(s.q.begin(), s.q.end()), k(s.k.begin(), s.k.end());
  const TensorView<const float> fq(q.data(), 70, heads, width), fk(k.data(), 70, kv_heads, width);
  CHECK(choose_blocks(fq, fk, moba, bound).sets().bits() == sets);
  CHECK(choose_blocks(fq, s.keys(), moba, bound).sets().bits() == sets);
  // Distances are what they were.
  CHECK(choose_blocks(fq, fk, moba, bound, {.query_positions = 1000, .key_positions = 1000})
            .sets()
            .bits() == sets);
  // Rotations that differ choose otherwise.
  CHECK(choose_blocks(fq, fk, moba, bound, {.query_positions = 1000}).sets().bits() != sets);
  CHECK(choose_blocks(fq.slice(0, 0), fk, moba, bound).sets().groups() == 0);
  // Fewer keys than a block, and queries behind all keys.
  CHECK(choose_blocks(fq.slice(0, 3), fk.slice(0, 3), moba, bound).sets().contains(0, 2, 0));
  const ChosenBlocks behind = choose_blocks(fq.slice(0, 3), fk, moba, bound, {.query_offset = 500});
  CHECK(behind.sets().contains(0, 0, 8));
  CHECK(std::popcount(behind.sets().word(0, 0, 0)) == 3);
}

TEST_CASE("choose_blocks: a key that is not a number is seen") {
  const Sequence s(70);
  Sequence broken = s;
  broken.k[static_cast<std::size_t>(17 * kv_heads * width + 3)] = NAN;
  const ChosenBlocks chosen = choose_blocks(
      broken.queries(), broken.keys(), MoBA{.block = 8, .topk = 2}, bind(rope | Causal{}, options));
  for (Index n = 24; n < 70; ++n) CHECK(chosen.sets().contains(0, n, 2));
}

struct Unforced : MoBA {
  [[nodiscard]] ForcedBlocks forced(Index) const { return {}; }
};

TEST_CASE("ChosenBlocks, choose_blocks: what is wrong is said") {
  CHECK_THROWS_WITH(BlockSets({.queries = -1}), ContainsSubstring("must not be negative, got -1"));
  CHECK_THROWS_WITH(BlockSets({.queries = 1, .query_block = 0}),
                    ContainsSubstring("must be positive, got 0, 64 and 1"));
  CHECK_THROWS_WITH(BlockSets({.queries = Index{1} << 39, .blocks = Index{1} << 33}),
                    ContainsSubstring("do not fit in memory"));
  CHECK_THROWS_WITH(
      bind(rope | ChosenBlocks(BlockSets({.queries = 3, .blocks = 1, .choices = 3})), options),
      ContainsSubstring("each of the 2 key heads or one for each of the 4 query heads, got 3"));
  const Sequence s(20);
  const auto bound = bind(rope | Causal{}, options);
  const MoBA moba{.block = 8, .topk = 3};
  CHECK_THROWS_WITH(choose_blocks(s.queries(), s.keys(), MoBA{}, bound), ContainsSubstring("MoBA"));
  CHECK_THROWS_WITH(choose_blocks(s.queries(), s.queries(), moba, bound),
                    ContainsSubstring("bound to 4 query heads and 2 key heads"));
  CHECK_THROWS_WITH(choose_blocks(s.queries(), s.keys(), moba, bound, {.query_block = 0}),
                    ContainsSubstring("query_block must be positive, got 0"));
  CHECK_THROWS_WITH(choose_blocks(s.queries(), s.keys().slice(0, 10), moba, bound),
                    ContainsSubstring("set query_offset"));
  CHECK_THROWS_WITH(choose_blocks(s.queries(), s.keys(), moba, bound, {.query_offset = -1}),
                    ContainsSubstring("cannot have -1"));
  CHECK_THROWS_WITH(choose_blocks(s.queries(), s.keys(), moba,
                                  bind(rope | ReRoPE{8} | Causal{}, options)),
                    ContainsSubstring("choose by raw keys"));
  Unforced unforced;
  unforced.block = 8, unforced.topk = 2;
  CHECK_THROWS_WITH(choose_blocks(s.queries(), s.keys(), unforced, bound),
                    ContainsSubstring("forced blocks have a last one"));
}

}  // namespace chosen_blocks_cases
