// SPDX-License-Identifier: MIT
//
// Stages: biases and score maps of a tile, gone through from the last to the first. Score maps need what
// they were given; biases that learn need the gradients of the scores as they left them, temperatures the
// products of queries and keys.
#pragma once

#include <posenc/attention/backward/call.hpp>
#include <posenc/attention/backward/leaves.hpp>

#include <numeric>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class BackwardStages {
 public:
  BackwardStages(const BackwardCall<T>& call, const BackwardPlan& plan,
                 const BackwardBuffers<T>& buffers)
      : call_(call), answers_(call.answers()), plan_(plan), tiles_(plan.tiles), buffers_(buffers) {}

  /// Scores as products made them, before any stage.
  void begin_tile(const ScoreTile& tile) {
    saved_ = buffers_.saved;
    if (buffers_.products)
      std::copy_n(buffers_.tiles.scores, tile.keys * tile.width, buffers_.products);
  }
  /// Keeps the scores of a tile as a stage is about to change them.
  void save(std::size_t stage, const ScoreTile& tile) {
    if (!derivative(stage).tile) return;
    std::copy_n(buffers_.tiles.scores, tile.keys * tile.width, saved_);
    saved_ += tiles_.tile * tiles_.panel;
  }

  /// From the gradient of what the softmax read to that of the products.
  void go_back(const ScoreTile& tile, double* all_sums) {
    const std::span<const Stage> stages = answers_.asked();
    double* sums = all_sums + plan_.sums;
    for (std::size_t i = stages.size(); i-- > 0;) {
      const auto& [self, ask] = stages[i];
      const std::size_t count = all_sums ? size(num_sums(stages[i])) : 0;
      sums -= count;
      const std::span<double> to(sums, count);
      if (const Derivative<T> of = derivative(i); of.tile) {
        saved_ -= tiles_.tile * tiles_.panel;
        differentiate(of, self, tile, to);
      }
      if (count == 0) continue;
      if (ask->relative_bias_gradient) add_by_distance(stages[i], tile, to);
      if (ask->score_bias_gradient) add_by_score(stages[i], tile, to);
    }
    if (buffers_.products)
      for_each_learner(answers_, all_sums, [&](const Stage& stage, std::span<double> to) {
        if (stage.ask->temperature_gradient && !to.empty()) add_by_query(stage, tile, to);
      });
  }

 private:
  [[nodiscard]] Derivative<T> derivative(std::size_t stage) const {
    const auto find = call_.derivatives[stage];
    return find ? find(call_.forward.leaves.level) : Derivative<T>{};
  }

  /// Through a score map. Its parameters need the sum of the gradients times its derivative by each.
  void differentiate(const Derivative<T>& of, const void* self, const ScoreTile& tile,
                     std::span<double> parameters) {
    T* const by = of.tile_by && !parameters.empty() ? buffers_.by_parameter : nullptr;
    for (std::size_t i = 1; by && i < parameters.size(); ++i) {
      std::copy_n(buffers_.gradient, tile.keys * tile.width, by);
      of.tile_by(self, static_cast<Index>(i), tile, saved_, by);
      parameters[i] += sum(tile, by);
    }
    of.tile(self, tile, saved_, buffers_.gradient, by);
    if (by) parameters[0] += sum(tile, by);
  }
  /// By query as T, which is 64 numbers at most, and over the queries as double.
  [[nodiscard]] double sum(const ScoreTile& tile, const T* x) const {
    T by_query[TileBuckets::most_lanes] = {};
    gradient_leaves<T>(call_.forward.leaves.level).add_rows(tile.keys, tile.width, x, by_query);
    return std::accumulate(by_query, by_query + tile.queries, 0.0);
  }

  /// Those of a bias of scores need every gradient, and those of a temperature their sums by query.
  void add_by_score(const Stage& stage, const ScoreTile& tile, std::span<double> parameters) {
    if (stage.ask->tile_bias_gradient && tile.consecutive) {
      widen(tile.keys * tile.width, buffers_.gradient, buffers_.exact);
      return stage.ask->tile_bias_gradient(stage.self, tile.where, tile.head,
                                           {tile.key, size(tile.keys)}, buffers_.exact, tile.width,
                                           parameters);
    }
    for (Index k = 0; k < tile.keys; ++k)
      for (Index j = 0; j < tile.queries; ++j)
        if (const T dx = buffers_.gradient[k * tile.width + j]; dx != 0)
          stage.ask->score_bias_gradient(stage.self, tile.score(k, j), static_cast<double>(dx),
                                         parameters);
  }
  /// In steps of a fixed length, whose loops become vectors.
  static void widen(Index n, const T* x, double* y) {
    constexpr Index step = 8;
    Index i = 0;
    for (; i + step <= n; i += step) {
      double some[step];
      for (Index c = 0; c < step; ++c) some[c] = static_cast<double>(x[i + c]);
      for (Index c = 0; c < step; ++c) y[i + c] = some[c];
    }
    for (; i < n; ++i) y[i] = static_cast<double>(x[i]);
  }
  void add_by_query(const Stage& stage, const ScoreTile& tile, std::span<double> parameters) {
    for (Index j = 0; j < tile.queries; ++j) {
      double sum = 0;
      for (Index k = 0; k < tile.keys; ++k)
        if (const T dx = buffers_.gradient[k * tile.width + j]; dx != 0)
          sum += static_cast<double>(dx * buffers_.products[k * tile.width + j]);
      if (sum != 0)
        stage.ask->temperature_gradient(stage.self, tile.query[j],
                                        sum / stage.ask->temperature(stage.self, tile.query[j]),
                                        parameters);
    }
  }

  /// The parameters of a relative bias need the sum of the gradients at each distance.
  void add_by_distance(const Stage& stage, const ScoreTile& tile, std::span<double> parameters) {
    const auto add = [&](Position distance, Index n, const double* sums) {
      stage.ask->relative_bias_gradient(stage.self, tile.head, distance, n, sums, parameters);
    };
    const bool by_table =
        tile.consecutive && tile.where.key.last - tile.where.key.first < tiles_.tile;
    const Position least = tile.where.query.first - tile.where.key.last;
    if (by_table) std::fill_n(buffers_.by_distance, tiles_.tile + tiles_.panel, 0.0);
    for (Index k = 0; k < tile.keys; ++k) {
      const T* const row = buffers_.gradient + k * tile.width;
      if (by_table) {
        double* const sums = buffers_.by_distance + (tile.query[0] - tile.key[k] - least);
        for (Index j = 0; j < tile.queries; ++j) sums[j] += static_cast<double>(row[j]);
      } else {
        for (Index j = 0; j < tile.queries; ++j) {
          const auto sum = static_cast<double>(row[j]);
          if (sum != 0) add(tile.query[j] - tile.key[k], 1, &sum);
        }
      }
    }
    if (by_table)
      add(least, tile.where.query.last - tile.where.key.first - least + 1, buffers_.by_distance);
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const BackwardCall<T>& call_;
  const Answers& answers_;
  const BackwardPlan& plan_;
  const Plan& tiles_;
  const BackwardBuffers<T>& buffers_;
  T* saved_ = nullptr;  ///< behind what is kept
};

}  // namespace detail

POSENC_NAMESPACE_END
