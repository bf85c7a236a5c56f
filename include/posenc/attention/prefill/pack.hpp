// SPDX-License-Identifier: MIT
//
// Packing: tensors on their way into products. Queries become panels, rotated and scaled, once per
// block and region; keys and values become rows without gaps, once per chunk and tile, keys rotated
// for each region that needs them. All of it when it is first asked for.
#pragma once

#include <posenc/attention/prefill/buffers.hpp>

#include <cstdint>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What a call is about; shared by its workers.
template <class T, class BoundT>
struct Problem {
  TensorView<const T> q, k, v;
  TensorView<T> out;
  const BoundT& bound;
  const Coordinates& at;
  std::span<T> lse;
  const Leaves<T, BoundT>& leaves;
  const Plan& plan;
  const SharedSums<T>& shared;

  [[nodiscard]] AttentionShape shape() const { return {q.tokens, k.tokens, q.width, v.width}; }
};

/// Queries side by side: rows [first, first + queries) of the block.
struct Panel {
  Index first = 0;
  Index queries = 0;
  Index width = 0;  ///< queries, padded to whole vectors
  bool consecutive = false;
};

/// Asks for rows of one head before they are needed: those of a head may lie pages apart, where a
/// processor does not look ahead by itself. Rows beyond the last are left out.
template <bool ForWriting = false, class U>
void ask_for_rows(const TensorView<U>& x, Index first, Index rows, Index head) {
  constexpr Index line = 64 / sizeof(U);
  if (x.channel_stride != 1) return;
  for (Index t = first; t < std::min(first + rows, x.tokens); ++t)
    for (Index c = 0; c < x.width; c += line)
      __builtin_prefetch(x.row(t, head) + c, ForWriting ? 1 : 0, 2);
}

/// Rows [first, first + rows) of one head.
template <class U>
TensorView<U> rows_of(const TensorView<U>& x, Index first, Index rows, Index head) {
  return {x.row(first, head), rows, 1, x.width, x.token_stride, 0, x.channel_stride};
}

template <class T, class BoundT, bool KeysAreRotated>
class Packing {
 public:
  static constexpr int regions = Buffers<T, BoundT>::regions;

  Packing(const Problem<T, BoundT>& problem, const Buffers<T, BoundT>& buffers)
      : q_(problem.q), k_(problem.k), v_(problem.v), bound_(problem.bound),
        map_(bound_.distance_map()), at_(problem.at), leaves_(problem.leaves), tile_(leaves_.tile),
        plan_(problem.plan), buffers_(buffers), scale_(bound_.scale(q_.width)) {}

  /// Queries [query, query + queries) of the heads of a group.
  void begin_block(Index kv_head, Index query, Index queries) {
    kv_head_ = kv_head;
    query_ = query;
    queries_ = queries;
    rotated_ = 0;
    has_plain_queries_ = false;
    // Lanes beyond the last query repeat it.
    for (Index i = 0; i < plan_.block; ++i) {
      const Index row = query + std::min(i, queries - 1);
      buffers_.query[i] = at_.query[row];
      buffers_.query_index[i] = at_.query_offset + row;
    }
  }

  /// Keys [key, key + keys) of the key head.
  void begin_chunk(Index key, Index keys) {
    key_ = key;
    for (std::uint64_t& tiles : packed_keys_) tiles = 0;
    packed_values_ = finite_values_ = 0;
    for (Index c = 0; c < keys; ++c) buffers_.key[c] = at_.key[key + c];
  }

  [[nodiscard]] Panel panel(Index first) const {
    const Index queries = std::min(plan_.panel, queries_ - first);
    bool consecutive = true;
    for (Index i = first + 1; i < first + queries; ++i)
      consecutive = consecutive && buffers_.query[i] == buffers_.query[i - 1] + 1;
    return {first, queries, round_up(queries, tile_.panel_step), consecutive};
  }
  /// What scores are multiplied by, before temperature.
  [[nodiscard]] double scale() const { return scale_; }

  /// A panel of one head as it was passed but for scale and temperature, [head_dim][panel width].
  [[nodiscard]] const T* plain_queries(const Panel& p, Index g) {
    if constexpr (!RelativeBuffers<T, BoundT>::has_queries) return queries(p, 0, g);
    if (!has_plain_queries_) {
      has_plain_queries_ = true;
      pack_panels([&](const Panel& panel, Index head) { return plain_rows(panel, head); },
                  buffers_.relative.queries);
    }
    return buffers_.relative.queries + (g * plan_.block + p.first) * q_.width;
  }
  /// A panel of one head, [head_dim][panel width].
  [[nodiscard]] const T* queries(const Panel& p, int region, Index g) {
    if ((rotated_ >> region & 1U) == 0) rotate_queries(region);
    return panel_of(p, region, g);
  }

  /// Keys [c, c + keys) of the chunk, a tile of them, [key][head_dim].
  [[nodiscard]] const T* keys(int region, Index c, Index keys) {
    const int copy = key_copy(region);
    if ((packed_keys_[copy] & tile_bit(c)) == 0) {
      packed_keys_[copy] |= tile_bit(c);
      pack_keys(copy, c, keys);
      ask_for_rows(k_, key_ + c + keys, plan_.tile, kv_head_);
    }
    return buffers_.keys + (copy * plan_.chunk + c) * k_.width;
  }

  struct Values {
    const T* rows = nullptr;  ///< [key][value_dim]
    bool are_finite = true;
  };
  /// The values of the same keys.
  [[nodiscard]] Values values(Index c, Index keys) {
    if ((packed_values_ & tile_bit(c)) == 0) {
      packed_values_ |= tile_bit(c);
      if (pack_values(c, keys)) finite_values_ |= tile_bit(c);
      ask_for_rows(v_, key_ + c + keys, plan_.tile, kv_head_);
    }
    return {buffers_.values + c * v_.width, (finite_values_ & tile_bit(c)) != 0};
  }

 private:
  [[nodiscard]] std::uint64_t tile_bit(Index c) const { return std::uint64_t{1} << c / plan_.tile; }
  [[nodiscard]] T* panel_of(const Panel& p, int region, Index g) const {
    return buffers_.queries + ((region * plan_.group + g) * plan_.block + p.first) * q_.width;
  }

  /// The region whose rotated keys serve this one too.
  [[nodiscard]] int key_copy(int region) const {
    if constexpr (requires { map_.key_copy(region); })
      return map_.key_copy(region);
    else
      return region;
  }

  /// All queries of the block, rotated for one region and scaled, as panels.
  void rotate_queries(int region) {
    rotated_ |= RegionSet{1} << region;
    pack_panels(
        [&](const Panel& p, Index head) {
          if (region == 0) ask_for_rows(q_, query_ + p.first + plan_.panel, plan_.panel, head);
          return rotated_queries(region, p, head);
        },
        panel_of({}, region, 0));
  }

  /// Panels of all heads and queries of the block, scaled, of what rows_of_head(panel, head) returns.
  template <class RowsOfHead>
  void pack_panels(const RowsOfHead& rows_of_head, T* panels) {
    for (Index first = 0; first < queries_; first += plan_.panel) {
      const Panel p = panel(first);
      for (Index i = 0; i < p.queries; ++i)
        buffers_.factor[i] = static_cast<T>(scale_ * bound_.temperature(buffers_.query[first + i]));
      for (Index g = 0; g < plan_.group; ++g) {
        const TensorView<const T> rows = rows_of_head(p, kv_head_ * plan_.group + g);
        tile_.to_panel(p.queries, q_.width, p.width, rows.data, rows.token_stride, buffers_.factor,
                       panels + (g * plan_.block + first) * q_.width);
      }
    }
  }

  /// Queries of one head as rows, each without gaps.
  [[nodiscard]] TensorView<const T> plain_rows(const Panel& p, Index head) const {
    const TensorView<const T> x = rows_of(q_, query_ + p.first, p.queries, head);
    if (x.channel_stride == 1) return x;
    const TensorView<T> y(buffers_.rows, p.queries, 1, q_.width, q_.width, 0);
    copy_rows(x, y);
    return y;
  }

  /// The same, with the query biases of the head.
  [[nodiscard]] TensorView<const T> biased_rows(const Panel& p, Index head) const {
    const TensorView<T> y(buffers_.rows, p.queries, 1, q_.width, q_.width, 0);
    copy_rows(rows_of(q_, query_ + p.first, p.queries, head), y);
    [[maybe_unused]] const auto add = [&]<class S>(const S& stage) {
      if constexpr (QueryBias<S>) {
        const std::span<const float> bias = stage.query_bias(head);
        for (Index i = 0; i < p.queries; ++i)
          for (std::size_t c = 0; c < bias.size(); ++c) y.row(i, 0)[c] += static_cast<T>(bias[c]);
      }
    };
    std::apply([&](const auto&... stage) { (add(stage), ...); }, bound_.stages());
    return y;
  }

  /// The same, rotated for one region.
  [[nodiscard]] TensorView<const T> rotated_queries([[maybe_unused]] int region, const Panel& p,
                                                    Index head) {
    TensorView<const T> x;
    if constexpr (RelativeBuffers<T, BoundT>::Counts::query_biases > 0)
      x = biased_rows(p, head);
    else if constexpr (BoundT::has_rotary)
      x = rows_of(q_, query_ + p.first, p.queries, head);
    else
      x = plain_rows(p, head);
    if constexpr (BoundT::has_rotary) {
      const TensorView<T> y(buffers_.rows, p.queries, 1, q_.width, q_.width, 0);
      // The attention factor belongs to queries and keys; putting its square on the queries keeps
      // stored keys unitary.
      const double factor = bound_.rotary().state.attention_factor;
      const Turn turn{.amplitude = factor * factor, .side = Side::query};
      if constexpr (BoundT::has_distance_map) {
        for (Index i = 0; i < p.queries; ++i)
          buffers_.query_copy[i] = map_.query_position(region, buffers_.query[p.first + i]);
        leaves_.rotation.rotate(bound_.rotary(), bound_.region_angles(region), turn,
                                std::span<const double>(buffers_.query_copy, size(p.queries)), x,
                                y);
      } else {
        leaves_.rotation.rotate(bound_.rotary(), bound_.region_angles(region), turn,
                                at_.query.subspan(size(query_ + p.first), size(p.queries)), x, y);
      }
      return y;
    } else {
      return x;
    }
  }

  /// Keys of the chunk as rows, rotated for one region.
  void pack_keys(int region, Index c, Index keys) {
    const TensorView<const T> x = rows_of(k_, key_ + c, keys, kv_head_);
    const TensorView<T> y(buffers_.keys + (region * plan_.chunk + c) * k_.width, keys, 1, k_.width,
                          k_.width, 0);
    if constexpr (BoundT::has_rotary && !KeysAreRotated) {
      const Turn turn{.side = Side::key};
      if constexpr (BoundT::has_distance_map) {
        for (Index i = 0; i < keys; ++i)
          buffers_.key_copy[i] = map_.key_position(region, buffers_.key[c + i]);
        leaves_.rotation.rotate(bound_.rotary(), bound_.region_angles(region), turn,
                                std::span<const Position>(buffers_.key_copy, size(keys)), x, y);
      } else {
        leaves_.rotation.rotate(bound_.rotary(), bound_.region_angles(region), turn,
                                at_.key.subspan(size(key_ + c), size(keys)), x, y);
      }
    } else {
      copy_rows(x, y);
    }
  }

  /// Values of the chunk as rows; rotated by their own position under RotateValues. True when all of
  /// them are finite.
  bool pack_values(Index c, Index keys) {
    const TensorView<const T> x = rows_of(v_, key_ + c, keys, kv_head_);
    const TensorView<T> y(buffers_.values + c * v_.width, keys, 1, v_.width, v_.width, 0);
    if constexpr (BoundT::rotates_values) {
      leaves_.rotation.rotate(bound_.rotary(), bound_.rotary().angles, {},
                              at_.key.subspan(size(key_ + c), size(keys)), x, y);
      return tile_.copy_finite(keys * v_.width, y.data, y.data);
    } else {
      return copy_rows(x, y);
    }
  }

  /// Copies rows; true when all of it is finite.
  bool copy_rows(const TensorView<const T>& x, const TensorView<T>& y) const {
    bool finite = true;
    for (Index t = 0; t < x.tokens; ++t) {
      const T* from = x.row(t, 0);
      if (x.channel_stride != 1) {
        copy_channels(x.width, from, x.channel_stride, y.row(t, 0), 1);
        from = y.row(t, 0);
      }
      finite = tile_.copy_finite(x.width, from, y.row(t, 0)) && finite;
    }
    return finite;
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  TensorView<const T> q_, k_, v_;
  const BoundT& bound_;
  const std::remove_cvref_t<decltype(std::declval<const BoundT&>().distance_map())>& map_;
  const Coordinates& at_;
  const Leaves<T, BoundT>& leaves_;
  const TileLeaves<T>& tile_;
  const Plan& plan_;
  const Buffers<T, BoundT>& buffers_;
  double scale_;

  Index kv_head_ = 0, query_ = 0, queries_ = 0;  ///< the block
  RegionSet rotated_ = 0;                        ///< regions that its queries are rotated for
  bool has_plain_queries_ = false;
  Index key_ = 0;                            ///< the chunk
  std::uint64_t packed_keys_[regions] = {};  ///< its tiles that are rotated, by region
  std::uint64_t packed_values_ = 0, finite_values_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
