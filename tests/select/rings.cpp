// SPDX-License-Identifier: MIT
//
// Rings: after any edits their summaries choose what the formulas choose of the tokens that are left, in double, and
// decode() reads that.
#include "../support/cases.hpp"
#include "choices.hpp"

#include <posenc/attention/decode.hpp>
#include <posenc/cache/rerotate.hpp>
#include <posenc/eigen.hpp>
#include <posenc/select/inf_llm.hpp>

#include <functional>
#include <limits>

namespace select_test {
namespace rings_cases {

constexpr Index width = 8, heads = 4, kv_heads = 2, base = 100;
using Row = std::vector<double>;

double dot(const Row& a, const Row& b) {
  double sum = 0;
  for (std::size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}
template <class X>
Row turned(const X* x, Position position) {
  constexpr std::size_t half = width / 2;
  Row y(width);
  for (std::size_t c = 0; c < half; ++c) {
    const double angle = static_cast<double>(position) *
                         std::pow(static_cast<double>(base), -static_cast<double>(c) / half);
    const auto a = static_cast<double>(widen(x[c])), b = static_cast<double>(widen(x[c + half]));
    y[c] = a * std::cos(angle) - b * std::sin(angle);
    y[c + half] = a * std::sin(angle) + b * std::cos(angle);
  }
  return y;
}

using Score = std::function<double(const Row& query, std::span<const Row> keys)>;
double bound_of_page(const Row& query, std::span<const Row> keys) {
  double sum = 0;
  for (std::size_t c = 0; c < width; ++c) {
    double least = HUGE_VAL, most = -HUGE_VAL;
    for (const Row& key : keys) least = std::min(least, key[c]), most = std::max(most, key[c]);
    sum += std::max(query[c] * least, query[c] * most);
  }
  return sum;
}
double product_with_mean(const Row& query, std::span<const Row> keys) {
  double sum = 0;
  for (const Row& key : keys) sum += dot(query, key) / static_cast<double>(keys.size());
  return sum;
}

/// Tokens that a sequence holds, by rank: indices, and raw keys as they stand.
struct HeldKeys {
  std::vector<Position> index;
  std::vector<Row> keys;
  Position next = 0;
};
template <KeyState State, class C>
HeldKeys held(const KeyValueCache<State, C>& cache, Index s, Index kv_head) {
  HeldKeys all;
  for (Index r = 0; r < cache.tokens(s); ++r) {
    all.index.push_back(cache.index(s, r));
    const Position at = State == KeyState::raw ? cache.position(s, r) : 0;
    all.keys.push_back(turned(cache.key(s, r, kv_head).data(), at));
  }
  all.next = cache.next_index(s);
  return all;
}

/// Forces blocks at both ends, of which a ring overwrites the first.
struct Ends : MoBA {
  [[nodiscard]] ForcedBlocks forced(Index) const { return {.first = 2, .last = 3}; }
};

/// Ranks that a query of a rank reads: blocks are of indices; those that lost tokens, what lies before them and the
/// forced ones in any case, and `top` others.
std::set<Index> expected(const HeldKeys& all, const Row& query, Index own, Index block, Index top,
                         ForcedBlocks forced, const Score& score) {
  const Index tokens = std::ssize(all.index);
  const auto index = [&](Index r) { return all.index[size(r)]; };
  Position whole_from = 0;  // the least index of which no later one is lost
  if (all.next > tokens) {
    whole_from = all.next;
    for (Index r = tokens; r-- > 0 && index(r) == whole_from - 1;) --whole_from;
  }
  std::set<Index> read;
  std::vector<std::pair<double, Index>> order;
  for (Index r = 0; r <= own;) {
    const Index b = index(r) / block;
    Index end = r;
    while (end <= own && index(end) / block == b) ++end;
    const bool competes =
        b * block >= whole_from && b >= forced.first && b <= index(own) / block - forced.last;
    if (competes)
      order.emplace_back(-score(query, std::span(all.keys).subspan(size(r), size(end - r))), r);
    for (; r < end; ++r)
      if (!competes) read.insert(r);
  }
  std::sort(order.begin(), order.end());
  for (Index i = 0; i < std::min<Index>(top, std::ssize(order)); ++i)
    for (Index r = order[size(i)].second, n = 0; n < block; ++n) read.insert(r + n);
  return read;
}

template <KeyState State, class C>
struct Session {
  using CacheT = KeyValueCache<State, C>;
  static constexpr Index sequences = 2;
  Random random;
  CacheT cache;
  Index far = 0;  ///< tokens that rings have overwritten

  Session(unsigned seed, Index capacity, Index sinks)
      : random(seed),
        cache(CacheT::ring(
            {.sequences = sequences, .kv_heads = kv_heads, .head_dim = width, .capacity = capacity},
            sinks)) {}
  /// Rings that grow in the first half of the steps, and have turned in the second, however many there are.
  template <class B>
  void step(const B& bound, Index step, Index steps) {
    if (step == steps / 2)
      for (Index s = 0; s < sequences; ++s)
        append(cache, s, numbers((cache.shape().capacity + 7) * kv_heads * width, random), bound);
    const Index s = random.integer(0, sequences - 1);
    const Position n = cache.next_index(s), from = random.integer(0, n),
                   to = random.integer(from, n);
    far = std::max(far, n - cache.tokens(s));
    switch (random.integer(0, 15)) {
      case 0:
        try {
          cache.truncate(s, random.integer(std::max<Position>(0, n - 6), n));
        } catch (const Error&) {  // what would have to come back is gone
        }
        return;
      case 1:
        return cache.evict(s, from, std::min(to, from + 5));
      case 2: {
        std::vector<Position> path;
        const Position first = std::max<Position>(0, n - 5);
        for (Index r = 0; r < cache.tokens(s); ++r)
          if (cache.index(s, r) >= first && random.chance(0.5)) path.push_back(cache.index(s, r));
        return cache.keep_path(s, first, path);
      }
      case 3:
        return cache.fork(s, 1 - s);
      case 4:
        if constexpr (State == KeyState::raw)
          return shift(cache, s, from, to, random.integer(-9, 9));
        else
          return shift(cache, s, from, to, random.integer(-9, 9), bound);
      case 5:
        if constexpr (State == KeyState::rotated) rebase(cache, s, bound, bound);
        return;
      case 6:
        if (random.chance(0.1)) cache.clear(s);
        return;
      default:
        append(cache, s, numbers(random.integer(0, 9) * kv_heads * width, random), bound);
    }
  }
};

/// Ranks of the tokens of a choice.
std::set<Index> tokens_of(const Selection::Choice& choice) {
  std::set<Index> tokens;
  for (const KeyRange& range : choice.ranges)
    for (Index r = 0; r < range.tokens; ++r) tokens.insert(range.first + r);
  return tokens;
}

/// Is `out` the mean of the values that are read, weighted by exp(product(rank) / sqrt(width))?
template <KeyState State, class C, class Product>
void check_mean(const KeyValueCache<State, C>& cache, Index s, Index kv_head,
                const std::set<Index>& read, const Product& product, const float* out,
                double tolerance) {
  double sum = 0;
  Row mean(width);
  for (const Index r : read) {
    const double w = std::exp(product(r) / std::sqrt(double{width}));
    sum += w;
    for (std::size_t c = 0; c < width; ++c)
      mean[c] += w * static_cast<double>(widen(cache.value(s, r, kv_head)[c]));
  }
  for (std::size_t c = 0; c < width; ++c)
    REQUIRE(std::abs(mean[c] / sum - static_cast<double>(out[c])) < tolerance);
}

template <KeyState State, class C, class S>
void run(const S& selector, const Score& score, Index top, Index capacity, Index sinks,
         unsigned seed, double tolerance) {
  INFO(S::name << ", ring of " << sinks << " and " << capacity - sinks << ", seed " << seed);
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width, .base = base} | Causal{},
                          {.num_heads = heads, .num_kv_heads = kv_heads});
  Session<State, C> session(seed, capacity, sinks);
  auto& cache = session.cache;
  Summaries<S> summaries(selector, cache, bound);
  Selection chosen;
  Index compared = 0, left_out = 0;
  const Index steps = posenc_test::some_of(400);
  for (Index step = 0; step < steps; ++step) {
    session.step(bound, step, steps);
    if (session.random.chance(0.4)) continue;  // several edits before the next look
    const Index s = session.random.integer(0, 1), tokens = cache.tokens(s);
    if (tokens == 0) continue;
    const Index rows = session.random.integer(1, std::min<Index>(tokens, 3));
    INFO("step " << step);
    summaries.update(cache, s, bound);

    // The same numbers as when all is summarised for the first time.
    Summaries<S> fresh(selector, cache, bound);
    fresh.update(cache, s, bound);
    REQUIRE(summaries.blocks(s) == fresh.blocks(s));
    for (Index h = 0; h < kv_heads; ++h)
      for (Index b = 0; b < summaries.blocks(s); ++b)
        REQUIRE(std::equal(summaries.row(s, h, b), summaries.row(s, h, b) + summaries.width(),
                           fresh.row(s, h, b)));

    const std::vector<float> q = numbers(rows * heads * width, session.random, 3);
    const TensorView<const float> queries(q.data(), rows, heads, width);
    const std::vector<Index> sequences{s};
    select(queries, cache, summaries, bound, chosen, {.sequences = sequences});
    std::vector<float> out(q.size());
    decode(queries, cache, TensorView<float>(out.data(), rows, heads, width), bound,
           {.sequences = sequences, .selection = &chosen});
    REQUIRE(chosen.size() == rows * heads);
    for (Index i = 0; i < chosen.size(); ++i) {
      const Index row = i / heads, h = i % heads, own = tokens - rows + row;
      const Index kv_head = h / (heads / kv_heads);
      const HeldKeys all = held(cache, s, kv_head);
      const Row query = turned(&q[size((row * heads + h) * width)], cache.position(s, own));
      const std::set<Index> wanted =
          expected(all, query, own, selector.block, top, selector.forced(0), score);
      const std::set<Index> read = tokens_of(chosen[i]);
      REQUIRE(read == wanted);
      left_out += own + 1 - std::ssize(read);
      check_mean(
          cache, s, kv_head, read, [&](Index r) { return dot(query, all.keys[size(r)]); },
          &out[size((row * heads + h) * width)], tolerance);
      ++compared;
    }
  }
  CHECK(compared > 0);
  CHECK(left_out > 0);
  CHECK(session.far > 0);
}

TEST_CASE("rings: what is chosen, and read, is what the formulas say of the tokens that are left") {
  for (unsigned seed = 1; seed <= 2; ++seed)
    for (const auto& [capacity, sinks] :
         {std::pair<Index, Index>{40, 4}, {37, 5}, {41, 0}, {29, 16}}) {
      run<KeyState::raw, float>(Quest{.block = 4, .budget = 16}, bound_of_page, 3, capacity, sinks,
                                seed, 1e-5);
      run<KeyState::rotated, float>(MoBA{.block = 5, .topk = 3}, product_with_mean, 2, capacity,
                                    sinks, seed, 1e-5);
      Ends ends;
      ends.block = 3, ends.topk = 3;
      run<KeyState::raw, float>(ends, product_with_mean, 2, capacity, sinks, seed, 1e-5);
      run<KeyState::rotated, Eigen::bfloat16>(Quest{.block = 3, .budget = 12}, bound_of_page, 3,
                                              capacity, sinks, seed, 1e-5);
    }
  // No block is ever whole: all is read.
  const auto bound = without_positions(1, 1);
  auto cache = KeyValueCache<KeyState::raw>::ring({.head_dim = width, .capacity = 10}, 1);
  Random random(3);
  append(cache, 0, numbers(25 * width, random), bound);
  const Selection all =
      chosen_by<float>(Quest{.block = 16, .budget = 16}, cache, bound, numbers(width, random), 1);
  REQUIRE(all[0].ranges.size() == 1);
  CHECK(all[0].tokens == 10);
}

/// What a token has received, the same whenever a block is summarised: by its index and head.
double mass_of(Position index, Index h) {
  return std::fmod(static_cast<double>(index) * 0.6180339887 + static_cast<double>(h) * 0.3, 1.0);
}

/// InfLLM by its formulas: one choice of all heads, raw keys of the greatest mass, far keys at one distance.
void run_inf_llm(const InfLLM& method, Index capacity, Index sinks, unsigned seed) {
  INFO("InfLLM, ring of " << sinks << " and " << capacity - sinks << ", seed " << seed);
  const BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
  const auto bound = bind(
      RoPE<HalfSplit>{.head_dim = width, .base = base} | method.distances() | Causal{}, options);
  Session<KeyState::raw, float> session(seed, capacity, sinks);
  auto& cache = session.cache;
  Summaries<InfLLM> summaries(method, cache, bound);
  Selection chosen;
  Index compared = 0, left_out = 0;
  const Index steps = posenc_test::some_of(300);
  for (Index step = 0; step < steps; ++step) {
    session.step(bound, step, steps);
    const Index s = session.random.integer(0, 1), tokens = cache.tokens(s);
    if (tokens == 0) continue;
    INFO("step " << step);
    std::vector<double> mass;
    for (Index r = 0; r < tokens; ++r)
      for (Index h = 0; h < heads; ++h) mass.push_back(mass_of(cache.index(s, r), h));
    summaries.update(cache, s, bound, {.mass = mass});
    const std::vector<float> q = numbers(heads * width, session.random, 3);
    const TensorView<const float> queries(q.data(), 1, heads, width);
    const std::vector<Index> sequences{s};
    select(queries, cache, summaries, bound, chosen, {.sequences = sequences});
    std::vector<float> out(q.size());
    decode(queries, cache, TensorView<float>(out.data(), 1, heads, width), bound,
           {.sequences = sequences, .selection = &chosen});

    // Keys of each head as they were passed; blocks compete by the sum over heads.
    std::vector<HeldKeys> raw(size(kv_heads));
    for (Index g = 0; g < kv_heads; ++g) {
      raw[size(g)].next = cache.next_index(s);
      for (Index r = 0; r < tokens; ++r) {
        raw[size(g)].index.push_back(cache.index(s, r));
        raw[size(g)].keys.push_back(turned(cache.key(s, r, g).data(), 0));
      }
    }
    std::vector<Row> far;
    for (Index h = 0; h < heads; ++h)
      far.push_back(turned(&q[size(h * width)], method.n_local - 1));
    const Score of_block = [&](const Row&, std::span<const Row> keys) {
      const Index first = keys.data() - raw[0].keys.data();
      double sum = 0;
      for (Index h = 0; h < heads; ++h) {
        std::vector<std::pair<double, Index>> order;
        for (Index r = first; r < first + std::ssize(keys); ++r)
          order.emplace_back(-mass_of(cache.index(s, r), h), r);
        std::sort(order.begin(), order.end());
        const Index count = std::min<Index>(method.repr_topk, std::ssize(order));
        for (Index i = 0; i < count; ++i)
          sum += dot(far[size(h)],
                     raw[size(h / (heads / kv_heads))].keys[size(order[size(i)].second)]) /
                 static_cast<double>(count);
      }
      return sum;
    };
    const std::set<Index> wanted =
        expected(raw[0], {}, tokens - 1, method.block, method.topk, method.forced(0), of_block);
    REQUIRE(chosen.size() == 1);
    const std::set<Index> read = tokens_of(chosen[0]);
    REQUIRE(read == wanted);
    left_out += tokens - std::ssize(read);
    for (Index h = 0; h < heads; ++h) {
      const Index kv_head = h / (heads / kv_heads);
      const auto product = [&](Index r) {
        const Position apart = cache.position(s, tokens - 1) - cache.position(s, r);
        return dot(turned(&q[size(h * width)], std::min(apart, method.n_local - 1)),
                   raw[size(kv_head)].keys[size(r)]);
      };
      check_mean(cache, s, kv_head, read, product, &out[size(h * width)], 1e-5);
    }
    ++compared;
  }
  CHECK(compared > 0);
  CHECK(left_out > 0);
  CHECK(session.far > 0);
}

TEST_CASE("rings: InfLLM reads its window and the blocks whose heaviest keys a query meets best") {
  for (unsigned seed = 1; seed <= 2; ++seed)
    for (const auto& [capacity, sinks] : {std::pair<Index, Index>{48, 4}, {53, 0}, {61, 13}}) {
      run_inf_llm({.block = 4, .n_init = 4, .n_local = 9, .topk = 2, .repr_topk = 2}, capacity,
                  sinks, seed);
      run_inf_llm({.block = 3, .n_init = 0, .n_local = 12, .topk = 3, .repr_topk = 1}, capacity,
                  sinks, seed);
    }
}

TEST_CASE("rings: a token that is overwritten costs no summary, and is noticed") {
  struct Counting : MoBA {
    Index* count = nullptr;
    void summarize(const KeyBlock& keys, float* to) const {
      ++*count;
      MoBA::summarize(keys, to);
    }
  };
  const auto bound = without_positions(1, 1);
  Random random(6);
  auto cache = KeyValueCache<KeyState::raw>::ring({.head_dim = width, .capacity = 50}, 2);
  Index count = 0;
  Counting selector;
  selector.block = 4, selector.topk = 2, selector.count = &count;
  Summaries summaries(selector, cache, bound);
  append(cache, 0, numbers(70 * width, random), bound);
  summaries.update(cache, 0, bound);
  CHECK(count == 68 / 4 - 24 / 4);  // indices 22 to 69 are there, those of blocks 6 to 16 whole
  Selection chosen;
  const std::vector<float> q = numbers(width, random);
  for (Index t = 70; t < 100; ++t) {
    append(cache, 0, numbers(width, random), bound);
    const auto choose = [&] {
      select(TensorView<const float>(q.data(), 1, 1, width), cache, summaries, bound, chosen);
    };
    if (t % 4 == 0)  // the first token of a block was overwritten
      CHECK_THROWS_WITH(choose(), ContainsSubstring("was changed since its summaries were made"));
    else
      CHECK_NOTHROW(choose());
    count = 0;
    summaries.update(cache, 0, bound);
    CHECK(count == (t % 4 == 3));
  }
}

}  // namespace rings_cases
}  // namespace select_test
