// SPDX-License-Identifier: MIT
//
// Results: what a pair of a block and a chunk has found, rotated back, now or in the end (run.hpp), and added
// to the gradients of the tensors as they were passed. A rotation is undone by the other one, and magnitudes
// are applied once more, which is what rotating as the other side of a score in reverse does.
#pragma once

#include <posenc/attention/backward/call.hpp>
#include <posenc/attention/backward/frequencies.hpp>
#include <posenc/attention/prefill/pack.hpp>
#include <posenc/simd/panels.hpp>

#include <bit>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class BackwardResults {
 public:
  BackwardResults(const BackwardCall<T>& call, const BackwardPlan& plan,
                  const BackwardBuffers<T>& buffers)
      : call_(call), forward_(call.forward), answers_(call.answers()), map_(answers_.map()),
        rotary_(*forward_.asked.rotary), plan_(plan), tiles_(plan.tiles), buffers_(buffers),
        has_relative_(answers_.relative().keys + answers_.relative().queries > 0) {}

  /// Gradients of rotated and scaled queries of a panel, for each of some regions, of one head, from the
  /// keys from `key` on.
  void add_queries(const Panel& p, Index query, Index key, Index head, RegionSet regions,
                   double* sums) {
    const Index width = forward_.q.width, first = query + p.first;
    const Rotary& own = rotary_.of(head / tiles_.group);
    for (; regions != 0; regions &= regions - 1) {
      const int region = std::countr_zero(regions);
      T* const panel = buffers_.q_rows + region * tiles_.panel * plan_.width.stride;
      simd::from_panel(p.queries, width, p.width, buffers_.d_q + region * tiles_.panel * width,
                       buffers_.ones, panel, plan_.width.stride, 1);
      const TensorView<T> rows(panel, p.queries, 1, width, plan_.width.stride, 0);
      Positions at = forward_.query.subspan(size(first), size(p.queries));
      if (map_) {
        map_.ask->query_positions(map_.self, region, p.queries, buffers_.tiles.query + p.first,
                                  buffers_.tiles.query_copy);
        at = std::span<const double>(buffers_.tiles.query_copy, size(p.queries));
      }
      add_turned({.x = tokens_of(head_of(call_.q, head), first, p.queries),
                  .bias = learns_frequencies(sums) ? query_bias(head) : nullptr,
                  .d = rows,
                  .factor = buffers_.factor,
                  .at = at,
                  .origin = origin(key, region),
                  .step = step(region)},
                 rows, own, own.region_angles(region), turn_of_query_gradient(own), call_.d_q,
                 first, head, turns_now(sums), sums);
      if (sums && answers_.relative().query_biases > 0) add_query_bias_gradients(rows, head, sums);
    }
    if (has_relative_)
      add({buffers_.relative.d_q, p.queries, 1, width, plan_.width.stride, 0}, buffers_.factor,
          call_.d_q, first, head);
  }

  /// Gradients of the keys [key, key + keys) of the chunk, rotated for each of some regions, and of their
  /// values.
  void add_keys(Index kv_head, Index key, Index keys, RegionSet regions, double* sums) {
    const Index width = forward_.q.width, value_width = call_.d_out.width;
    const Positions positions = call_.key.subspan(size(key), size(keys));
    const Rotary& own = rotary_.of(kv_head);
    for (; regions != 0; regions &= regions - 1) {
      const int region = std::countr_zero(regions);
      const TensorView<T> rows(buffers_.d_k + region * tiles_.chunk * plan_.width.stride, keys, 1,
                               width, plan_.width.stride, 0);
      Positions at = positions;
      if (map_) {
        map_.ask->key_positions(map_.self, region, keys, buffers_.tiles.key,
                                buffers_.tiles.key_copy);
        at = std::span<const Position>(buffers_.tiles.key_copy, size(keys));
      }
      add_turned({.x = tokens_of(head_of(call_.k, kv_head), key, keys),
                  .d = rows,
                  .at = at,
                  .origin = origin(key, region),
                  .step = step(region)},
                 rows, own, own.region_angles(region), turn_of_key_gradient(), call_.d_k, key,
                 kv_head, turns_now(sums), sums);
    }
    if (has_relative_)
      add({buffers_.relative.d_k, keys, 1, width, plan_.width.stride, 0}, nullptr, call_.d_k, key,
          kv_head);
    const TensorView<T> values(buffers_.d_v, keys, 1, value_width, plan_.value_width.stride, 0);
    add_turned({.x = tokens_of(head_of(call_.v, kv_head), key, keys),
                .d = values,
                .at = positions,
                .origin = origin_of(rotary_, call_.key, 0)},
               values, own, own.angles, turn_of_value_gradient(), call_.d_v, key, kv_head,
               answers_.facts().rotates_values && turns_now(sums), sums);
  }

 private:
  /// Adds rows, each times its factor, to those from `first` on. Where they turn they are rotated back: before; or
  /// behind, for the frequencies alone, where results turn last.
  [[gnu::noinline]] void add_turned(const Turned<T>& turned, const TensorView<T>& rows,
                                    const Rotary& rotary, const AngleTable& angles,
                                    const Turn& turn, const TensorView<T>& to, Index first,
                                    Index head, bool turns, double* sums) {
    if (!turns || plan_.turns_last) add(rows, turned.factor, to, first, head);
    if (!turns) return;
    forward_.leaves.rotate(rotary, angles, turn, turned.at, rows, rows);
    if (learns_frequencies(sums))
      add_frequency_gradients<T>(gradient_leaves<T>(forward_.leaves.level), rotary, turned,
                                 sums + plan_.sums);
    if (!plan_.turns_last) add(rows, turned.factor, to, first, head);
  }
  /// to += rows, each times its factor where there are factors.
  [[gnu::noinline]] void add(const TensorView<T>& rows, const T* factor, const TensorView<T>& to,
                             Index first, Index head) {
    constexpr Index ahead = 8;
    const OutRows<T> results(to, forward_.leaves.level);
    for (Index i = 0; i < rows.tokens; ++i) {
      prefetch_rows<true>(results, first + i + ahead, 1, head);
      const T* const x = rows.row(i, 0);
      T* const y = to.row(first + i, head);
      const T times = factor ? factor[i] : T{1};
      if (to.channel_stride == 1)
        gradient_leaves<T>(forward_.leaves.level).add_scaled(rows.width, times, x, y);
      else
        for (Index c = 0; c < rows.width; ++c) y[c * to.channel_stride] += times * x[c];
    }
  }

  [[nodiscard]] bool learns_frequencies(const double* sums) const {
    return sums && plan_.frequencies > 0;
  }
  /// Frequencies learn from the share of each pair.
  [[nodiscard]] bool turns_now(const double* sums) const {
    return rotary_.layout && (!plan_.turns_last || learns_frequencies(sums));
  }
  /// What positions of a region count in.
  [[nodiscard]] double step(int region) const {
    return map_ ? map_.ask->step(map_.self, region) : 1;
  }
  /// Where positions of a region count from, for a chunk of keys and all that meet it.
  [[nodiscard]] Origin origin(Index key, int region) const {
    Origin from = origin_of(rotary_, call_.key, key);
    if (map_) {
      Position first = call_.key[key];
      map_.ask->key_positions(map_.self, region, 1, &first, &first);
      from[0] = static_cast<double>(first);
    }
    return from;
  }
  /// All biases of the queries of a head together; null where there is none.
  [[nodiscard]] const double* query_bias(Index head) const {
    if (answers_.relative().query_biases == 0) return nullptr;
    double* const sum = buffers_.relative.row;
    std::fill_n(sum, forward_.q.width, 0.0);
    answers_.add_query_biases(head, sum);
    return sum;
  }

  /// A bias of the queries gets the sum of their gradients.
  POSENC_DETAIL_COLD void add_query_bias_gradients(const TensorView<T>& rows, Index head,
                                                   double* sums) {
    for_each_learner(answers_, sums, [&](const Stage& stage, std::span<double> gradient) {
      if (gradient.empty() || !stage.ask->query_bias_gradient) return;
      double* const sum = buffers_.relative.row;
      std::fill_n(sum, rows.width, 0.0);
      for (Index i = 0; i < rows.tokens; ++i)
        for (Index c = 0; c < rows.width; ++c)
          sum[c] += static_cast<double>(buffers_.factor[i] * rows(i, 0, c));
      stage.ask->query_bias_gradient(stage.self, head, {sum, size(rows.width)}, gradient);
    });
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const BackwardCall<T>& call_;
  const PrefillCall<T>& forward_;
  const Answers& answers_;
  const MapOfDistances& map_;
  const Rotary& rotary_;
  const BackwardPlan& plan_;
  const Plan& tiles_;
  const BackwardBuffers<T>& buffers_;
  bool has_relative_;  ///< keys or queries
};

}  // namespace detail

POSENC_NAMESPACE_END
