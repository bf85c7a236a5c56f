// SPDX-License-Identifier: MIT
//
// Tables of relative biases: what the biases of a key head add at each distance of a call, for the many
// scores that share one.
#pragma once

#include <posenc/attention/prefill/buffers.hpp>
#include <posenc/attention/prefill/call.hpp>
#include <posenc/attention/score/tile.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class BiasTables {
 public:
  BiasTables(const PrefillCall<T>& call, const Plan& plan, const PrefillBuffers<T>& buffers)
      : call_(call), plan_(plan), buffers_(buffers) {}

  /// With position ids that are spread wider than the tokens are many, there are no tables: biases are
  /// asked for key by key.
  void begin_head(Index kv_head) {
    const Index queries = call_.q.tokens, keys = call_.keys.tokens;
    distances_ = 0;
    if (!buffers_.bias || keys == 0) return;
    const Interval query = bounds(call_.query, 0, queries);
    Interval key{greatest_position, -greatest_position};
    call_.keys.for_runs(0, keys, keys, [&](const KeyRun& run) {
      const Interval some = bounds(run.positions, 0, run.tokens);
      key = {std::min(key.first, some.first), std::max(key.last, some.last)};
    });
    begin(kv_head, query, key, queries + keys);
  }
  /// For queries and keys at these positions, if that makes no more distances than `most`.
  void begin(Index kv_head, Interval query, Interval key, Index most) {
    distances_ = 0;
    const Position distances = (query.last - key.first) - (query.first - key.last) + 1;
    if (!buffers_.bias || distances > most) return;
    distances_ = distances;
    least_distance_ = query.first - key.last;
    T* table = buffers_.bias;
    for (const auto& [self, ask] : call_.answers().asked())
      for (Index g = 0; ask->relative_bias && g < plan_.group; ++g, table += size())
        fill(self, *ask, kv_head * plan_.group + g, table);
  }

  /// Adds the nth relative bias to the scores of a query head of the group.
  void add(const Stage& stage, Index n, Index g, const ScoreTile& tile, T* scores) const {
    if (distances_ > 0)
      call_.leaves.add_bias_table(
          tile, {buffers_.bias + (n * plan_.group + g) * size(), least_distance_}, scores);
    else
      for (Index k = 0; k < tile.keys; ++k, scores += tile.width)
        add_to_row(stage, tile, k, scores);
  }

 private:
  [[nodiscard]] Index size() const { return distances_ + plan_.panel; }
  void fill(const void* self, const Questions& ask, Index head, T* table) const {
    for (Index d = 0; d < distances_; d += buffers_.bias_step) {
      const Index some = std::min(buffers_.bias_step, distances_ - d);
      ask.relative_bias(self, head, least_distance_ + d, some, buffers_.bias_row);
      for (Index i = 0; i < some; ++i) table[d + i] = static_cast<T>(buffers_.bias_row[i]);
    }
    std::fill_n(table + distances_, plan_.panel, T{0});
  }

  void add_to_row(const Stage& stage, const ScoreTile& tile, Index k, T* scores) const {
    const Index some = tile.consecutive ? tile.queries : 1;
    for (Index j = 0; j < tile.queries; j += some) {
      stage.ask->relative_bias(stage.self, tile.head, tile.query[j] - tile.key[k], some,
                               buffers_.bias_row);
      for (Index i = 0; i < some; ++i) scores[j + i] += static_cast<T>(buffers_.bias_row[i]);
    }
  }

  const PrefillCall<T>& call_;
  const Plan& plan_;
  const PrefillBuffers<T>& buffers_;
  Index distances_ = 0;
  Position least_distance_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
