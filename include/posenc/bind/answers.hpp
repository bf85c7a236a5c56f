// SPDX-License-Identifier: MIT
//
// Answers: an encoding that is bound to heads, with the types of its components erased. What attention
// reads; Bound and AnyBound are made of it.
#pragma once

#include <posenc/bind/resolve.hpp>
#include <posenc/bind/score_loops.hpp>

#include <algorithm>
#include <limits>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What a row of the softmax begins with: nothing, or the sinks of its head.
struct SoftmaxStart {
  double shift = -std::numeric_limits<double>::infinity();  ///< the greatest logit
  double sum = 0;                                           ///< of exp(logit - shift)
  double spread = 0;                                        ///< of that times logit - shift
};

/// A distance map and its answers; without one there is one region, and distances are the true ones.
struct MapOfDistances {
  const void* self = nullptr;
  const MapQuestions* ask = nullptr;

  explicit operator bool() const { return ask != nullptr; }
  [[nodiscard]] int regions() const { return ask ? ask->regions : 1; }
  [[nodiscard]] RegionSet occurring(const Tile& tile) const {
    return ask ? ask->occurring(self, tile) : 1;
  }
  [[nodiscard]] double distance(Position query, Position key) const {
    return ask ? ask->distance(self, query, key) : static_cast<double>(query - key);
  }
  /// The region whose rotated keys serve this one too.
  [[nodiscard]] int key_copy(int region) const { return ask ? ask->key_copy(self, region) : 0; }
  [[nodiscard]] double query_position(int region, Position query) const {
    double at = static_cast<double>(query);
    if (ask) ask->query_positions(self, region, 1, &query, &at);
    return at;
  }
  [[nodiscard]] Position key_position(int region, Position key) const {
    Position at = key;
    if (ask) ask->key_positions(self, region, 1, &key, &at);
    return at;
  }
};

/// How many components answer each question about vectors by distance.
struct RelativeCounts {
  int keys = 0, queries = 0, values = 0, query_biases = 0;
  int buckets = 0;       ///< components whose buckets are asked for
  bool limited = false;  ///< some have vectors for some distances alone
};

class Answers {
 public:
  [[nodiscard]] const HeadShape& shape() const { return resolved_.shape; }
  [[nodiscard]] const BindOptions& options() const { return options_; }
  [[nodiscard]] const EncodingFacts& facts() const { return facts_; }
  /// Whose arithmetic made the angles.
  [[nodiscard]] Angles angles() const { return options_.angles; }

  /// What answers during attention, in the order written.
  [[nodiscard]] std::span<const Stage> asked() const { return stages_; }
  [[nodiscard]] const MapOfDistances& map() const { return map_; }
  [[nodiscard]] const RelativeCounts& relative() const { return relative_; }

  [[nodiscard]] bool rotates() const { return resolved_.rotary.layout != nullptr; }
  /// Frequencies, channels and angles; empty for encodings without a rotary base.
  [[nodiscard]] const Rotary& rotary() const { return resolved_.rotary; }
  /// The same at another length.
  POSENC_DETAIL_COLD [[nodiscard]] Rotary rotary_at(Position length) const {
    Problems problems;
    Rotary rotary = resolve_frequencies(problems, components_, shape().num_kv_heads, length);
    problems.raise_if_any("posenc::bind");
    if (rotary.layout) tabulate_angles(rotary, options_.angles, map_.self, map_.ask);
    return rotary;
  }

  /// Softmax scale for heads of this width, with the frequencies of a call.
  [[nodiscard]] double scale(Index head_dim, const Rotary& rotary) const {
    const auto& [self, ask] = resolved_.score_scale;
    const double scale = options_.scale ? *options_.scale
                         : ask          ? ask->score_scale(self, head_dim)
                                        : 1 / std::sqrt(static_cast<double>(head_dim));
    return scale * rotary.state.score_factor;
  }
  [[nodiscard]] double scale(Index head_dim) const { return scale(head_dim, rotary()); }

  /// Product of all temperatures of a query row.
  [[nodiscard]] double temperature(Position query) const {
    double factor = 1;
    for (const auto& [self, ask] : stages_)
      if (ask->temperature) factor *= ask->temperature(self, query);
    return factor;
  }

  /// Adds all biases of the queries of a head to one of them.
  template <class T>
  void add_query_biases(Index head, T* query) const {
    for (const auto& [self, ask] : stages_) {
      if (!ask->query_bias) continue;
      const std::span<const float> bias = ask->query_bias(self, head);
      for (std::size_t c = 0; c < bias.size(); ++c) query[c] += static_cast<T>(bias[c]);
    }
  }

  /// What all masks together say of a tile.
  [[nodiscard]] TileClass classify(const Tile& tile) const {
    TileClass all = TileClass::full;
    for (const auto& [self, ask] : stages_) {
      if (!ask->classify) continue;
      const TileClass one = ask->classify(self, tile);
      if (one == TileClass::none) return TileClass::none;
      if (one == TileClass::partial) all = TileClass::partial;
    }
    return all;
  }
  [[nodiscard]] bool visible(const Score& at) const {
    for (const auto& [self, ask] : stages_)
      if (ask->visible && !ask->visible(self, at)) return false;
    return true;
  }

  /// Sinks are rounded to T, as scores are.
  template <class T>
  [[nodiscard]] SoftmaxStart softmax_start(Index head) const {
    SoftmaxStart start;
    const auto distance = [](double x, double shift) {
      return std::max(std::numeric_limits<double>::lowest(), x - shift);
    };
    for (const auto& [self, ask] : stages_) {
      if (!ask->sink_logit) continue;
      const auto logit = static_cast<double>(static_cast<T>(ask->sink_logit(self, head)));
      if (logit == -std::numeric_limits<double>::infinity()) continue;
      const double shift = std::max(start.shift, logit), own = std::exp(logit - shift);
      if (start.sum != 0) {
        const double kept = std::exp(start.shift - shift);
        start.sum *= kept;
        start.spread = kept * start.spread + start.sum * distance(start.shift, shift);
      }
      start.spread += own * distance(logit, shift);
      start.sum += own;
      start.shift = shift;
    }
    return start;
  }

  /// The buckets of all relative values together: each has a row of sums beside the outputs.
  [[nodiscard]] Index value_buckets() const {
    Index buckets = 0;
    for (const auto& [self, ask] : stages_)
      if (ask->relative_values) buckets += ask->relative_values(self).buckets;
    return buckets;
  }

  /// Components that are read as long as this is, and what they resolve to.
  POSENC_DETAIL_COLD Answers(std::vector<Described> components, Resolved resolved,
                             const BindOptions& options)
      : components_(std::move(components)), resolved_(std::move(resolved)), options_(options) {
    for (const Described& component : components_) facts_.add(component.ask->facts);
  }
  /// What they were prepared to.
  POSENC_DETAIL_COLD void ask(std::vector<Stage> stages) {
    stages_ = std::move(stages);
    for (const auto& [self, ask] : stages_) {
      if (ask->map) map_ = {self, ask->map};
      relative_.keys += ask->relative_keys != nullptr;
      relative_.queries += ask->relative_queries != nullptr;
      relative_.values += ask->relative_values != nullptr;
      relative_.query_biases += ask->query_bias != nullptr;
      relative_.buckets += ask->relative_keys || ask->relative_queries || ask->relative_values;
      relative_.limited |= ask->distances != nullptr;
    }
    if (rotates()) tabulate_angles(resolved_.rotary, options_.angles, map_.self, map_.ask);
  }

 private:
  std::vector<Described> components_;
  Resolved resolved_;
  BindOptions options_;
  EncodingFacts facts_{};
  std::vector<Stage> stages_;
  MapOfDistances map_{};
  RelativeCounts relative_{};
};

/// The answers as a kernel reads them: with the frequencies of the call, and the score loops of each
/// component for scores of T.
template <class T>
struct Asked {
  const Answers* answers = nullptr;
  const Rotary* rotary = nullptr;
  const FindLoops<T>* loops = nullptr;  ///< of each stage
};

}  // namespace detail

POSENC_NAMESPACE_END
