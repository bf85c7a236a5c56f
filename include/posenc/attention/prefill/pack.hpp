// SPDX-License-Identifier: MIT
//
// Packing: tensors on their way into products. Queries become panels, rotated and scaled, once per
// block and region; keys and values become rows without gaps, once per chunk and tile, keys rotated
// for each region that needs them. All of it when it is first asked for.
#pragma once

#include <posenc/attention/prefill/buffers.hpp>
#include <posenc/attention/score/tile.hpp>
#include <posenc/simd/panels.hpp>

#include <cstdint>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class Packing {
 public:
  Packing(const PrefillCall<T>& call, const Plan& plan, const PrefillBuffers<T>& buffers)
      : call_(call), q_(call.q), keys_(call.keys), answers_(call.answers()),
        rotary_(*call.asked.rotary), map_(answers_.map()), tile_(*call.leaves.tile), plan_(plan),
        buffers_(buffers), scale_(answers_.scale(q_.width, rotary_)) {}

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
      buffers_.query[i] = call_.query[row];
      buffers_.query_index[i] = call_.query_index[row];
    }
  }

  /// Keys [key, key + keys) of the key head.
  void begin_chunk(Index key, Index keys) {
    key_ = key;
    std::fill_n(packed_keys_, map_.regions(), 0U);
    packed_values_ = finite_values_ = 0;
    keys_.for_runs(key, key + keys, keys, [&](const KeyRun& run) {
      for (Index i = 0; i < run.tokens; ++i) {
        buffers_.key[run.rank - key + i] = run.positions[i];
        buffers_.key_index[run.rank - key + i] = run.index + i;
      }
    });
  }

  [[nodiscard]] Panel panel(Index first) const {
    const Index queries = std::min(plan_.panel, queries_ - first);
    const bool consecutive = Places(buffers_.query + first, queries).consecutive &&
                             Places(buffers_.query_index + first, queries).consecutive;
    return {first, queries, round_up(queries, tile_.panel_step), consecutive};
  }
  /// Scale and temperature of query i of the block.
  [[nodiscard]] T factor(Index i) const {
    return static_cast<T>(scale_ * answers_.temperature(buffers_.query[i]));
  }

  /// A panel of one head as it was passed but for scale and temperature, [head_dim][panel width].
  [[nodiscard]] const T* plain_queries(const Panel& p, Index g) {
    if (!buffers_.relative.queries) return queries(p, 0, g);
    if (!has_plain_queries_) {
      has_plain_queries_ = true;
      pack_panels([&](const Panel& panel, Index head) { return plain_rows(panel, head); },
                  buffers_.relative.queries);
    }
    return buffers_.relative.queries + (g * plan_.block + p.first) * q_.width;
  }
  /// A panel of one head as it was passed, times a factor of each query, [head_dim][panel width].
  void plain_panel(const Panel& p, Index g, const T* factor, T* to) const {
    const TensorView<const T> rows = plain_rows(p, kv_head_ * plan_.group + g);
    simd::to_panel(p.queries, q_.width, p.width, rows.data, rows.token_stride, factor, to);
  }
  /// A panel of one head, [head_dim][panel width].
  [[nodiscard]] const T* queries(const Panel& p, int region, Index g) {
    if ((rotated_ >> region & 1U) == 0) rotate_queries(region);
    return panel_of(p, region, g);
  }

  /// Keys [c, c + keys) of the chunk, a tile of them, [key][head_dim].
  [[nodiscard]] const T* keys(int region, Index c, Index keys) {
    const int copy = keys_.state == KeyState::raw ? map_.key_copy(region) : 0;
    if ((packed_keys_[copy] & tile_bit(c)) == 0) {
      packed_keys_[copy] |= tile_bit(c);
      pack_keys(copy, c, keys);
    }
    return buffers_.keys + (copy * plan_.chunk + c) * q_.width;
  }
  /// The same keys as they were passed, not rotated; in buffers that the next call overwrites.
  [[nodiscard]] const T* plain_keys(Index c, Index keys) {
    if (!rotary_.layout) return this->keys(0, c, keys);
    load_rows(keys_.keys, &KeyRun::keys, c, keys, buffers_.relative.rows);
    return buffers_.relative.rows;
  }

  struct Values {
    const T* rows = nullptr;  ///< [key][value_dim]
    bool are_finite = true;
  };
  /// The values of the same keys.
  [[nodiscard]] Values values(Index c, Index keys) {
    const Index width = keys_.values.width;
    if ((packed_values_ & tile_bit(c)) == 0) {
      packed_values_ |= tile_bit(c);
      if (pack_values(c, keys)) finite_values_ |= tile_bit(c);
    }
    return {buffers_.values + c * width, (finite_values_ & tile_bit(c)) != 0};
  }

 private:
  [[nodiscard]] std::uint64_t tile_bit(Index c) const { return std::uint64_t{1} << c / plan_.tile; }
  [[nodiscard]] T* panel_of(const Panel& p, int region, Index g) const {
    return buffers_.queries + ((region * plan_.group + g) * plan_.block + p.first) * q_.width;
  }

  /// All queries of the block, rotated for one region and scaled, as panels.
  void rotate_queries(int region) {
    rotated_ |= RegionSet{1} << region;
    pack_panels(
        [&](const Panel& p, Index head) {
          if (region == 0) prefetch_rows(q_, query_ + p.first + plan_.panel, plan_.panel, head);
          return rotated_queries(region, p, head);
        },
        panel_of({}, region, 0));
  }

  /// Panels of all heads and queries of the block, scaled, of what rows_of_head(panel, head) returns.
  template <class RowsOfHead>
  void pack_panels(const RowsOfHead& rows_of_head, T* panels) {
    for (Index first = 0; first < queries_; first += plan_.panel) {
      const Panel p = panel(first);
      for (Index i = 0; i < p.queries; ++i) buffers_.factor[i] = factor(first + i);
      for (Index g = 0; g < plan_.group; ++g) {
        const TensorView<const T> rows = rows_of_head(p, kv_head_ * plan_.group + g);
        simd::to_panel(p.queries, q_.width, p.width, rows.data, rows.token_stride, buffers_.factor,
                       panels + (g * plan_.block + first) * q_.width);
      }
    }
  }

  /// Queries of one head as rows, each without gaps, where they are or in the buffer.
  [[nodiscard]] TensorView<const T> plain_rows(const Panel& p, Index head) const {
    const Index first = query_ + p.first;
    if (q_.is_plain())
      return {q_.plain_row(first, head), p.queries, 1, q_.width, q_.token_stride, 0};
    return loaded_rows(p, head);
  }
  [[nodiscard]] TensorView<T> loaded_rows(const Panel& p, Index head) const {
    const TensorView<T> y(buffers_.rows, p.queries, 1, q_.width, q_.width, 0);
    for (Index i = 0; i < p.queries; ++i) q_.load(query_ + p.first + i, head, y.row(i, 0));
    return y;
  }

  /// The same, with the query biases of the head, and rotated for one region.
  [[nodiscard]] TensorView<const T> rotated_queries(int region, const Panel& p, Index head) {
    const bool has_bias = answers_.relative().query_biases > 0;
    if (!has_bias && !rotary_.layout) return plain_rows(p, head);
    TensorView<const T> x;
    if (has_bias) {
      const TensorView<T> y = loaded_rows(p, head);
      for (Index i = 0; i < p.queries; ++i) answers_.add_query_biases(head, y.row(i, 0));
      x = y;
    } else {
      x = plain_rows(p, head);
    }
    if (!rotary_.layout) return x;
    const TensorView<T> y(buffers_.rows, p.queries, 1, q_.width, q_.width, 0);
    // The attention factor belongs to queries and keys; putting its square on the queries keeps stored
    // keys unitary.
    const Rotary& own = rotary_.of(kv_head_);
    const double factor = own.state.attention_factor;
    const Turn turn{.amplitude = factor * factor, .side = Side::query};
    Positions at = call_.query.subspan(size(query_ + p.first), size(p.queries));
    if (map_) {
      map_.ask->query_positions(map_.self, region, p.queries, buffers_.query + p.first,
                                buffers_.query_copy);
      at = std::span<const double>(buffers_.query_copy, size(p.queries));
    }
    call_.leaves.rotate(own, own.region_angles(region), turn, at, x, y);
    return y;
  }

  /// Copies rows of keys or values of the chunk; true when all of it is finite.
  bool load_rows(Rows<T> x, const std::byte* KeyRun::* data, Index c, Index keys, T* to) const {
    bool finite = true;
    keys_.for_runs(key_ + c, key_ + c + keys, keys, [&](const KeyRun& run) {
      x.data = run.*data;
      for (Index i = 0; i < run.tokens; ++i, to += x.width)
        finite = x.load(i, kv_head_, to) && finite;
      x.tokens = run.tokens + plan_.tile;  // what follows in memory, as far as there is any
      prefetch_rows(x, run.tokens, std::min(plan_.tile, keys_.tokens - run.rank - run.tokens),
                    kv_head_);
    });
    return finite;
  }

  /// Keys of the chunk as rows, rotated for one region.
  void pack_keys(int region, Index c, Index keys) {
    T* const rows = buffers_.keys + (region * plan_.chunk + c) * q_.width;
    const bool turns = rotary_.layout && keys_.state == KeyState::raw;
    if (turns && keys_.keys.storage->is_plain) return rotate_plain(region, c, keys, rows);
    load_rows(keys_.keys, &KeyRun::keys, c, keys, rows);
    if (!turns) return;
    keys_.for_runs(key_ + c, key_ + c + keys, keys, [&](const KeyRun& run) {
      const Index at = run.rank - key_;
      T* const some = rows + (at - c) * q_.width;
      rotate_keys(region, run, {some, run.tokens, 1, q_.width, q_.width, 0},
                  {some, run.tokens, 1, q_.width, q_.width, 0});
    });
  }
  /// Numbers of T are rotated on their way into the buffer.
  void rotate_plain(int region, Index c, Index keys, T* rows) {
    Rows<T> x = keys_.keys;
    keys_.for_runs(key_ + c, key_ + c + keys, keys, [&](const KeyRun& run) {
      x.data = run.keys;
      rotate_keys(region, run,
                  {x.plain_row(0, kv_head_), run.tokens, 1, x.width, x.token_stride, 0,
                   x.channel_stride},
                  {rows + (run.rank - key_ - c) * q_.width, run.tokens, 1, q_.width, q_.width, 0});
      x.tokens = run.tokens + plan_.tile;
      prefetch_rows(x, run.tokens, std::min(plan_.tile, keys_.tokens - run.rank - run.tokens),
                    kv_head_);
    });
  }
  [[gnu::noinline]] void rotate_keys(int region, const KeyRun& run, const TensorView<const T>& x,
                                     const TensorView<T>& y) {
    Positions positions = run.positions;
    if (map_) {
      const Index at = run.rank - key_;
      map_.ask->key_positions(map_.self, region, run.tokens, buffers_.key + at,
                              buffers_.key_copy + at);
      positions = std::span<const Position>(buffers_.key_copy + at, size(run.tokens));
    }
    const Rotary& own = rotary_.of(kv_head_);
    call_.leaves.rotate(own, own.region_angles(region), {.side = Side::key}, positions, x, y);
  }

  /// Values of the chunk as rows; rotated by their own position under RotateValues. True when all of
  /// them are finite.
  bool pack_values(Index c, Index keys) {
    const Index width = keys_.values.width;
    T* const rows = buffers_.values + c * width;
    const bool finite = load_rows(keys_.values, &KeyRun::values, c, keys, rows);
    if (!answers_.facts().rotates_values || keys_.values_are_rotated) return finite;
    const Rotary& own = rotary_.of(kv_head_);
    keys_.for_runs(key_ + c, key_ + c + keys, keys, [&](const KeyRun& run) {
      const TensorView<T> y(rows + (run.rank - key_ - c) * width, run.tokens, 1, width, width, 0);
      call_.leaves.rotate(own, own.angles, {}, run.positions, y, y);
    });
    return tile_.copy_finite(keys * width, rows, rows);
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  static constexpr int most_regions = std::numeric_limits<RegionSet>::digits;

  const PrefillCall<T>& call_;
  const Rows<T>& q_;
  const KeySource<T>& keys_;
  const Answers& answers_;
  const Rotary& rotary_;
  const MapOfDistances& map_;
  const TileLeaves<T>& tile_;
  const Plan& plan_;
  const PrefillBuffers<T>& buffers_;
  double scale_;

  Index kv_head_ = 0, query_ = 0, queries_ = 0;  ///< the block
  RegionSet rotated_ = 0;                        ///< regions that its queries are rotated for
  bool has_plain_queries_ = false;
  Index key_ = 0;                                 ///< the chunk
  std::uint64_t packed_keys_[most_regions] = {};  ///< its tiles that are rotated, by region
  std::uint64_t packed_values_ = 0, finite_values_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
