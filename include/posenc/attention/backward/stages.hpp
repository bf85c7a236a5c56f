// SPDX-License-Identifier: MIT
//
// Stages: biases and score maps of a tile, gone through from the last to the first. Score maps need what
// they were given; biases that learn need the gradients of the scores as they left them.
#pragma once

#include <posenc/attention/backward/call.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class BackwardStages {
 public:
  BackwardStages(const BackwardCall<T>& call, const BackwardPlan& plan,
                 const BackwardBuffers<T>& buffers)
      : call_(call), answers_(call.answers()), plan_(plan), tiles_(plan.tiles), buffers_(buffers) {}

  void begin_tile() { saved_ = buffers_.saved; }
  /// Keeps the scores of a tile as a stage is about to change them.
  void save(std::size_t stage, const ScoreTile& tile) {
    if (!derivative(stage)) return;
    std::copy_n(buffers_.tiles.scores, tile.keys * tile.width, saved_);
    saved_ += tiles_.tile * tiles_.panel;
  }

  /// From the gradient of what the softmax read to that of the products.
  void go_back(const ScoreTile& tile, double* all_parameters) {
    const std::span<const Stage> stages = answers_.asked();
    double* parameters = all_parameters + plan_.parameters;
    for (std::size_t i = stages.size(); i-- > 0;) {
      const auto& [self, ask] = stages[i];
      if (const auto back = derivative(i)) {
        saved_ -= tiles_.tile * tiles_.panel;
        back(self, tile, saved_, buffers_.gradient);
      }
      if (!all_parameters || !ask->num_parameters) continue;
      const Index count = ask->num_parameters(self);
      parameters -= count;
      if (ask->relative_bias_gradient) add_by_distance(stages[i], tile, {parameters, size(count)});
      if (ask->score_bias_gradient)
        for (Index k = 0; k < tile.keys; ++k)
          for (Index j = 0; j < tile.queries; ++j)
            if (const T dx = buffers_.gradient[k * tile.width + j]; dx != 0)
              ask->score_bias_gradient(self, tile.score(k, j), static_cast<double>(dx),
                                       {parameters, size(count)});
    }
  }

 private:
  [[nodiscard]] auto derivative(std::size_t stage) const {
    const auto find = call_.derivatives[stage];
    return find ? find(call_.forward.leaves.level).tile : nullptr;
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
