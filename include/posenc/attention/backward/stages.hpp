// SPDX-License-Identifier: MIT
//
// Stages: biases and score maps of a tile, gone through from the last to the first. Score maps need their
// slopes, which they say when they change the scores; biases that learn need the gradients of the scores as they left them, temperatures the
// products of queries and keys.
#pragma once

#include <posenc/attention/backward/call.hpp>
#include <posenc/attention/backward/leaves.hpp>
#include <posenc/attention/backward/token_sums.hpp>

#include <array>
#include <numeric>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class BackwardStages {
 public:
  BackwardStages(const BackwardCall<T>& call, const BackwardPlan& plan,
                 const BackwardBuffers<T>& buffers)
      : call_(call), answers_(call.answers()), plan_(plan), tiles_(plan.tiles), buffers_(buffers),
        tokens_(call, plan, buffers) {}

  void begin_pair() { tokens_.begin_pair(); }
  void begin_panel() {
    tokens_.begin_panel();
    if (buffers_.products) std::fill_n(buffers_.by_query, tiles_.panel, 0.0);
  }
  /// Scores as products made them, before any stage.
  void begin_tile(const ScoreTile& tile) {
    slopes_ = buffers_.slopes;
    if (buffers_.products)
      std::copy_n(buffers_.tiles.scores, tile.keys * tile.width, buffers_.products);
  }
  /// What a score map does to the scores of a tile, whose slopes are kept. False: the stage is none.
  bool change(std::size_t stage, const ScoreTile& tile) {
    const Derivative<T> of = derivative(stage);
    if (!of.change) return false;
    const Stage& map = answers_.asked()[stage];
    const Index parameters = slopes_by_parameter(map, of, plan_.sums > 0);
    T* const by = slopes_ + slope_size();
    for (Index i = 1; i < parameters; ++i)
      of.change_by(map.self, i, tile, buffers_.tiles.scores, by + i * slope_size());
    of.change(map.self, tile, buffers_.tiles.scores, slopes_, parameters > 0 ? by : nullptr);
    slopes_ = by + parameters * slope_size();
    return true;
  }

  /// From the gradient of what the softmax read to that of the products.
  void go_back(const ScoreTile& tile, double* all_sums) {
    const std::span<const Stage> stages = answers_.asked();
    double* sums = all_sums + plan_.sums;
    Index token_learner = plan_.token_learners;
    for (std::size_t i = stages.size(); i-- > 0;) {
      const auto& [self, ask] = stages[i];
      const std::size_t count = all_sums ? size(sums_of_chunk(stages[i])) : 0;
      sums -= count;
      const std::span<double> to(sums, count);
      const Derivative<T> of = derivative(i);
      if (of.change) go_through(stages[i], of, tile, to);
      if (ask->token_bias_gradient && token_learner > 0) tokens_.add(--token_learner, tile);
      if (count == 0) continue;
      if (ask->relative_bias_gradient) add_by_distance(stages[i], tile, to);
      if (ask->score_bias_gradient) add_by_score(stages[i], of, tile, to);
    }
    if (!buffers_.products) return;
    const Lanes sums_of_tile = by_query([&](T* sum) {
      leaves().add_products(tile.keys, tile.width, buffers_.products, buffers_.gradient, sum);
    });
    for (Index j = 0; j < tile.queries; ++j)
      buffers_.by_query[j] += static_cast<double>(sums_of_tile[size(j)]);
  }
  /// Where turns are: of the queries of a panel, from one on, and of the keys of a chunk.
  void add_to_queries(const Panel& p, Index query, Index head) const {
    tokens_.end_panel(query + p.first, p.queries, head);
  }
  void add_to_keys(Index kv_head, Index key, Index keys) const {
    tokens_.end_pair(key, keys, kv_head);
  }
  /// Temperatures learn from the sum by query of gradients times products, which have all of them as factors.
  void end_panel(const Panel& p, double* all_sums) {
    if (!buffers_.products) return;
    for_each_learner(answers_, all_sums, [&](const Stage& stage, std::span<double> to) {
      const auto& [self, ask] = stage;
      if (!ask->temperature_gradient || to.empty()) return;
      const Position* const query = buffers_.tiles.query + p.first;
      for (Index j = 0; j < p.queries; ++j)
        if (const double sum = buffers_.by_query[j]; sum != 0)
          ask->temperature_gradient(self, query[j], sum / ask->temperature(self, query[j]), to);
    });
  }

 private:
  [[nodiscard]] Derivative<T> derivative(std::size_t stage) const {
    const auto find = call_.derivatives[stage];
    return find ? find(call_.forward.leaves.level) : Derivative<T>{};
  }

  [[nodiscard]] const GradientLeaves<T>& leaves() const {
    return gradient_leaves<T>(call_.forward.leaves.level);
  }

  /// Sums by query as T, which are of 64 numbers at most; those over queries, panels and chunks are of double.
  using Lanes = std::array<T, TileBuckets::most_lanes>;
  template <class F>
  static Lanes by_query(const F& add) {
    Lanes sums{};
    add(sums.data());
    return sums;
  }

  /// Through a score map. Its parameters need the sum of the gradients times its derivative by each.
  void go_through(const Stage& map, const Derivative<T>& of, const ScoreTile& tile,
                  std::span<double> to) {
    const Index parameters = slopes_by_parameter(map, of, plan_.sums > 0);
    slopes_ -= (1 + parameters) * slope_size();
    for (Index i = 0; i < parameters; ++i) {
      const Lanes sums = by_query([&](T* sum) {
        leaves().add_products(tile.keys, tile.width, slopes_ + (1 + i) * slope_size(),
                              buffers_.gradient, sum);
      });
      to[size(i)] += std::accumulate(sums.data(), sums.data() + tile.queries, 0.0);
    }
    leaves().multiply(tile.keys * tile.width, slopes_, buffers_.gradient);
  }
  [[nodiscard]] Index slope_size() const { return tiles_.tile * tiles_.panel; }

  /// A bias of scores needs every gradient.
  void add_by_score(const Stage& stage, const Derivative<T>& of, const ScoreTile& tile,
                    std::span<double> parameters) {
    if (of.learn && tile.consecutive)
      return of.learn(stage.self, tile, buffers_.gradient, parameters);
    for (Index k = 0; k < tile.keys; ++k)
      for (Index j = 0; j < tile.queries; ++j)
        if (const T dx = buffers_.gradient[k * tile.width + j]; dx != 0)
          stage.ask->score_bias_gradient(stage.self, tile.score(k, j), static_cast<double>(dx),
                                         parameters);
  }

  /// The parameters of a relative bias need the sum of the gradients at each distance.
  void add_by_distance(const Stage& stage, const ScoreTile& tile, std::span<double> parameters) {
    const auto add = [&](Position distance, Index n, const double* sums) {
      stage.ask->relative_bias_gradient(stage.self, tile.head, distance, n, sums, parameters);
    };
    if (!tile.consecutive || tile.where.key.last - tile.where.key.first >= tiles_.tile) {
      for (Index k = 0; k < tile.keys; ++k)
        for (Index j = 0; j < tile.queries; ++j)
          if (const auto sum = static_cast<double>(buffers_.gradient[k * tile.width + j]); sum != 0)
            add(tile.query[j] - tile.key[k], 1, &sum);
      return;
    }
    // As T, as sums by query are: no distance has more than 64 keys of a tile.
    const Position least = tile.where.least_distance();
    const Index distances = tile.where.greatest_distance() - least + 1;
    std::array<T, 2 * TileBuckets::most_lanes> sums{};
    leaves().add_by_distance(tile.keys, tile.queries, tile.width, buffers_.gradient, tile.key,
                             tile.query[0], least, sums.data());
    std::copy_n(sums.data(), distances, buffers_.by_distance);
    add(least, distances, buffers_.by_distance);
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const BackwardCall<T>& call_;
  const Answers& answers_;
  const BackwardPlan& plan_;
  const Plan& tiles_;
  const BackwardBuffers<T>& buffers_;
  TokenSums<T> tokens_;
  T* slopes_ = nullptr;  ///< behind those that are kept
};

}  // namespace detail

POSENC_NAMESPACE_END
