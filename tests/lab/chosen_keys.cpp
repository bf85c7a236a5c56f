// SPDX-License-Identifier: MIT
//
// Trained models read with chosen keys: with all blocks chosen as without a choice, and with fewer as a dense attention
// in double that chooses by the formulas.
#include "schemes.hpp"

#include <posenc/lab/chosen_keys.hpp>
#include <posenc/lab/mixers.hpp>
#include <posenc/select/inf_llm.hpp>
#include <posenc/select/moba.hpp>
#include <posenc/select/nsa_selection.hpp>
#include <posenc/select/quest.hpp>

#include <cmath>
#include <functional>
#include <set>

namespace chosen_keys_cases {

using namespace lab_test;

lab::Weights sharp_weights(std::uint64_t seed = 8) {
  SeededRandom random(seed);
  lab::Weights weights = lab::Weights::random(tiny, random);
  for (float& w : weights.values()) w *= 6;
  return weights;
}
lab::BoundScheme bound(const lab::Scheme& scheme) {
  return {scheme, scheme.learned, tiny.layers, tiny.heads};
}
lab::Scheme rope_scheme() { return {"RoPE", rope() | Causal{}}; }

/// Bits of every byte of two windows.
lab::Curve curve(const lab::Scheme& scheme, Index length, const AnyExecutor& executor = {}) {
  return lab::evaluate(sharp_weights(), bound(scheme), small_text(300),
                       {.length = length, .bytes = 2 * length, .last = 1, .bin = 1}, executor);
}
double apart(const lab::Curve& a, const lab::Curve& b) {
  REQUIRE(a.by_position.size() == b.by_position.size());
  double most = 0;
  for (std::size_t i = 0; i < a.by_position.size(); ++i) {
    const double d = std::abs(a.by_position[i] - b.by_position[i]);
    most = std::isnan(d) ? HUGE_VAL : std::max(most, d);
  }
  return most;
}

template <class S>
void reads_as_in_full(const lab::Scheme& scheme, const S& all_blocks) {
  const lab::Curve full = curve(scheme, 40),
                   chosen = curve(scheme.read_by(lab::chosen_keys(all_blocks)), 40);
  CHECK(apart(full, chosen) < 1e-4);
  CHECK(full.keys_share == 1);
  CHECK(chosen.keys_share == 1);
}

TEST_CASE("chosen keys: a budget of the length, and more, is the full read") {
  std::vector<double> table(32 * 2), embedding(64 * 8);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = std::sin(static_cast<double>(i));
  for (std::size_t i = 0; i < embedding.size(); ++i)
    embedding[i] = std::cos(static_cast<double>(i));
  const std::vector<lab::Scheme> schemes{
      rope_scheme(),
      no_scheme(),
      {"ALiBi", ALiBi{} | Causal{}},
      t5_scheme(table, 2),
      learned_scheme(embedding, 8),
      {"xPos", rope() | XPos{} | Causal{}},
      no_scheme().mixing(lab::some_layers(tiny, lab::gla_mixing, 2))};
  for (const lab::Scheme& scheme : schemes) {
    INFO(scheme.name);
    reads_as_in_full(scheme, Quest{.block = 4, .budget = 40});
    reads_as_in_full(scheme, MoBA{.block = 8, .topk = 5});
    reads_as_in_full(scheme, NSASelection{.block = 8, .blocks = 9});
    // A window of the length reads everything at its own distance. (Magnitudes by position have no other.)
    if (scheme.name != "xPos")
      reads_as_in_full(scheme,
                       InfLLM{.block = 4, .n_init = 4, .n_local = 40, .topk = 0, .repr_topk = 2});
  }
  // All chunks moved together stand where they stood.
  reads_as_in_full(rope_scheme(), LongHeads{.chunk = 8, .chunks = 5});
  reads_as_in_full(schemes[5], LongHeads{.chunk = 4, .chunks = 100});
  const lab::Scheme far("ReRoPE", rope() | ReRoPE{.window = 15} | Causal{});
  reads_as_in_full(far, LongHeads{.chunk = 6, .chunks = 7});
  const lab::Scheme inf_llm = rope_scheme().read_by(lab::chosen_keys(
      InfLLM{.block = 4, .n_init = 4, .n_local = 16, .topk = 100, .repr_topk = 2}));
  CHECK(apart(curve(far, 40), curve(inf_llm, 40)) < 1e-4);
}

// --- Dense attention in double ---------------------------------------------------------------------

using Row = std::vector<double>;
double dot(const Row& a, const Row& b) {
  double sum = 0;
  for (std::size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}

/// As RoPE turns a row that stands at a place.
Row turned(TensorView<const float> x, Index n, Index h, Index place) {
  const auto half = static_cast<std::size_t>(x.width / 2);
  Row y(2 * half);
  for (std::size_t c = 0; c < half; ++c) {
    const double angle = static_cast<double>(place) *
                         std::pow(10000.0, -static_cast<double>(c) / static_cast<double>(half));
    const auto a = static_cast<double>(x(n, h, static_cast<Index>(c))),
               b = static_cast<double>(x(n, h, static_cast<Index>(c + half)));
    y[c] = a * std::cos(angle) - b * std::sin(angle);
    y[c + half] = a * std::sin(angle) + b * std::cos(angle);
  }
  return y;
}

/// softmax(<query, keys> / sqrt(width)) values
Row attended(const Row& query, const std::vector<Row>& keys, const std::vector<Row>& values) {
  std::vector<double> scores;
  for (const Row& key : keys)
    scores.push_back(dot(query, key) / std::sqrt(static_cast<double>(query.size())));
  const double greatest = *std::max_element(scores.begin(), scores.end());
  Row mean(query.size());
  double sum = 0;
  for (std::size_t m = 0; m < keys.size(); ++m) {
    const double w = std::exp(scores[m] - greatest);
    sum += w;
    for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += w * values[m][c];
  }
  for (double& x : mean) x /= sum;
  return mean;
}

/// Attention that says of each head and query, one after another, which keys it reads and where these stand.
class DenseAttention : public lab::AttentionRead {
 public:
  AnyEncoding encoding(Problems&, const AnyEncoding& own, const BindOptions&) const override {
    return own;
  }
  KeysRead attend(const AnyBound&, TensorView<const float> q, TensorView<const float> k,
                  TensorView<const float> v, TensorView<float> out,
                  const AnyExecutor&) const override {
    KeysRead keys;
    for (Index h = 0; h < q.heads; ++h) {
      const auto choose = choices(q, k, v, h);
      for (Index n = 0; n < q.tokens; ++n) {
        const Chosen chosen = choose(n);
        std::vector<Row> seen, values;
        for (const Index m : chosen.tokens) {
          seen.push_back(turned(k, m, h, chosen.moved_together ? std::ssize(seen) : m));
          values.push_back(turned(v, m, h, 0));
        }
        const Index place = chosen.moved_together ? std::ssize(seen) - 1 : n;
        const Row mean = attended(turned(q, n, h, place), seen, values);
        for (Index c = 0; c < q.width; ++c)
          out(n, h, c) = static_cast<float>(mean[static_cast<std::size_t>(c)]);
        keys.read += static_cast<double>(seen.size()) / static_cast<double>(q.heads);
        keys.all += static_cast<double>(n + 1) / static_cast<double>(q.heads);
      }
    }
    return keys;
  }

 protected:
  struct Chosen {
    std::set<Index> tokens;
    bool moved_together = false;
  };
  /// What queries of a head read; asked for query 0, 1, ... in turn.
  [[nodiscard]] virtual std::function<Chosen(Index n)> choices(TensorView<const float> q,
                                                               TensorView<const float> k,
                                                               TensorView<const float> v,
                                                               Index h) const = 0;
};

/// RoPE with choices of each head: `choice(query, rows of keys)` gives the keys that a query reads.
class DenseRead final : public DenseAttention {
 public:
  using Choice = std::function<std::set<Index>(const Row& query, const std::vector<Row>& keys)>;
  explicit DenseRead(Choice choice) : choice_(std::move(choice)) {}

 private:
  [[nodiscard]] std::function<Chosen(Index n)> choices(TensorView<const float> q,
                                                       TensorView<const float> k,
                                                       TensorView<const float>,
                                                       Index h) const override {
    return [=, this, seen = std::vector<Row>()](Index n) mutable {
      seen.push_back(turned(k, n, h, n));
      return Chosen{choice_(turned(q, n, h, n), seen)};
    };
  }
  Choice choice_;
};

/// LongHeads with RoPE: features of chunks, and what heads read moved together, by the formulas.
class DenseLongHeads final : public DenseAttention {
 public:
  explicit DenseLongHeads(const LongHeads& method) : method_(method) {}

 private:
  [[nodiscard]] std::function<Chosen(Index n)> choices(TensorView<const float> q,
                                                       TensorView<const float> k,
                                                       TensorView<const float> v,
                                                       Index h) const override {
    std::vector<Row> features;
    for (Index first = 0; first + method_.chunk <= q.tokens; first += method_.chunk)
      features.push_back(feature(q, k, v, h, first));
    return [=, this](Index n) { return Chosen{chosen(features, turned(q, n, h, 0), n), true}; };
  }
  Row feature(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
              Index h, Index first) const {
    std::vector<Row> keys, values;
    for (Index t = 0; t < method_.chunk; ++t) {
      keys.push_back(turned(k, first + t, h, t));
      values.push_back(turned(v, first + t, h, 0));
    }
    Row mean(keys.front().size());
    for (Index t = 0; t < method_.chunk; ++t) {
      const Row one = attended(turned(q, first + t, h, t), keys, values);
      for (std::size_t c = 0; c < mean.size(); ++c)
        mean[c] += one[c] / static_cast<double>(method_.chunk);
    }
    return attended(mean, keys, keys);
  }
  /// Tokens of the first chunk, the own one, the one before it, and the others of greatest scores.
  [[nodiscard]] std::set<Index> chosen(const std::vector<Row>& features, const Row& query,
                                       Index n) const {
    const Index own = n / method_.chunk;
    std::set<Index> chunks{0, std::max<Index>(own - 1, 0), own};
    std::vector<std::pair<double, Index>> order;
    for (Index c = 1; c < own - 1; ++c)
      order.emplace_back(-dot(query, features[static_cast<std::size_t>(c)]), c);
    std::sort(order.begin(), order.end());
    for (Index i = 0; i < std::min<Index>(method_.chunks - 3, std::ssize(order)); ++i)
      chunks.insert(order[static_cast<std::size_t>(i)].second);
    std::set<Index> tokens;
    for (const Index c : chunks)
      for (Index t = c * method_.chunk; t < std::min(n + 1, (c + 1) * method_.chunk); ++t)
        tokens.insert(t);
    return tokens;
  }
  LongHeads method_;
};

using Score = std::function<double(const Row& query, std::span<const Row> block)>;

/// The block of the query's own key, `forced` others, and of the rest those of greatest score, so many blocks in all.
DenseRead::Choice best_blocks(Index block, Index blocks, const Score& score,
                              const std::function<bool(Index b, Index own)>& forced) {
  return [=](const Row& query, const std::vector<Row>& keys) {
    const Index own = (std::ssize(keys) - 1) / block;
    std::vector<std::pair<double, Index>> order;
    for (Index b = 0; b <= own; ++b) {
      const std::span<const Row> part(
          keys.data() + b * block,
          static_cast<std::size_t>(std::min(block, std::ssize(keys) - b * block)));
      order.emplace_back(b == own || forced(b, own) ? -HUGE_VAL : -score(query, part), b);
    }
    std::sort(order.begin(), order.end());
    std::set<Index> read;
    for (Index i = 0; i < std::min<Index>(blocks, std::ssize(order)); ++i)
      for (Index m = order[static_cast<std::size_t>(i)].second * block, end = m + block;
           m < std::min<Index>(end, std::ssize(keys)); ++m)
        read.insert(m);
    return read;
  };
}
double bound_of_page(const Row& query, std::span<const Row> page) {
  double sum = 0;
  for (std::size_t c = 0; c < query.size(); ++c) {
    double least_key = HUGE_VAL, most_key = -HUGE_VAL;
    for (const Row& key : page)
      least_key = std::min(least_key, key[c]), most_key = std::max(most_key, key[c]);
    sum += std::max(query[c] * least_key, query[c] * most_key);
  }
  return sum;
}
double product_with_mean(const Row& query, std::span<const Row> block) {
  double sum = 0;
  for (const Row& key : block) sum += dot(query, key);
  return sum / static_cast<double>(block.size());
}

template <class S>
void reads_as(const S& selector, std::shared_ptr<const lab::AttentionRead> formulas) {
  const lab::Scheme scheme = rope_scheme();
  const auto chosen = scheme.read_by(lab::chosen_keys(selector)),
             dense = scheme.read_by(std::move(formulas));
  const lab::Curve is = curve(chosen, 61), expected = curve(dense, 61);
  CHECK(apart(is, expected) < 1e-4);
  CHECK_THAT(is.keys_share, WithinAbs(expected.keys_share, 1e-12));
  CHECK(is.keys_share < 0.7);
  CHECK(apart(is, curve(scheme, 61)) > 1e-2);  // it matters
  CHECK(curve(chosen, 61, threads(3)).by_position == is.by_position);

  const lab::Source rows = lab::RecallTask{.keys = 7, .values = 7}.rows();
  const auto recall = [&](const lab::Scheme& with) {
    return lab::evaluate_task(sharp_weights(), bound(with), rows, 48, {.sequences = 5});
  };
  const lab::TaskResult answers = recall(chosen), by_hand = recall(dense);
  CHECK(answers.accuracy == by_hand.accuracy);
  CHECK_THAT(answers.bits, WithinAbs(by_hand.bits, 1e-4));
  CHECK_THAT(answers.keys_share, WithinAbs(by_hand.keys_share, 1e-12));
  CHECK(recall(scheme).keys_share == 1);
}

template <class S>
void reads_as(const S& selector, const DenseRead::Choice& choice) {
  reads_as(selector, std::make_shared<const DenseRead>(choice));
}

TEST_CASE("chosen keys: as dense attention that chooses by the formulas") {
  const auto none = [](Index, Index) { return false; };
  reads_as(Quest{.block = 4, .budget = 16}, best_blocks(4, 4, bound_of_page, none));
  reads_as(MoBA{.block = 5, .topk = 3}, best_blocks(5, 3, product_with_mean, none));
  // A softmax over the blocks of one head leaves their order as it is.
  reads_as(NSASelection{.block = 4, .blocks = 5},
           best_blocks(4, 5, product_with_mean,
                       [](Index b, Index own) { return b == 0 || b == own - 1; }));
  const LongHeads moved_together{.chunk = 5, .chunks = 4};
  reads_as(moved_together, std::make_shared<const DenseLongHeads>(moved_together));
}

TEST_CASE("chosen keys: what cannot be chosen by, and what cannot be trained") {
  const lab::Scheme chosen = rope_scheme().read_by(lab::chosen_keys(Quest{}));
  CHECK_THROWS_WITH(lab::Training(tiny, chosen, {.steps = 1, .length = 8, .sequences = 1}),
                    ContainsSubstring("a choice has no gradient: train the scheme without it"));
  CHECK_THROWS_WITH(chosen.read_by(lab::chosen_keys(Quest{})),
                    ContainsSubstring("read in a way of its own already"));
  CHECK_THROWS_WITH(bound(rope_scheme().read_by(lab::chosen_keys(MoBA{.block = 0}))),
                    ContainsSubstring("MoBA"));
  const lab::Scheme far("ReRoPE", rope() | ReRoPE{.window = 15} | Causal{});
  CHECK_THROWS_WITH(bound(far.read_by(lab::chosen_keys(Quest{}))),
                    ContainsSubstring("Quest summarises rotated keys"));
  CHECK_THROWS_WITH(bound(rope_scheme().read_by(lab::chosen_keys(LongHeads{.chunks = 2}))),
                    ContainsSubstring("so chunks must be at least 3, got 2."));
  CHECK_THROWS_WITH(
      bound(lab::Scheme("ALiBi", ALiBi{} | Causal{}).read_by(lab::chosen_keys(LongHeads{}))),
      ContainsSubstring("it needs an encoding that rotates"));
  CHECK_THROWS_WITH(bound(far.read_by(lab::chosen_keys(InfLLM{}))),
                    ContainsSubstring("InfLLM reads far keys at a distance of its own"));
  const lab::Scheme x_pos("xPos", rope() | XPos{} | Causal{});
  CHECK_THROWS_WITH(bound(x_pos.read_by(lab::chosen_keys(InfLLM{}))),
                    ContainsSubstring("cannot be combined with magnitudes"));
  const lab::Scheme mixers = no_scheme().mixing(lab::all_layers(tiny, lab::gla_mixing));
  CHECK_THROWS_WITH(bound(mixers.read_by(lab::chosen_keys(Quest{}))),
                    ContainsSubstring("no layer of attention"));
}

}  // namespace chosen_keys_cases
