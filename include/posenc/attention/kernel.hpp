// SPDX-License-Identifier: MIT
//
// The one attention kernel, generic over encoding, element type and SIMD level.
//
//   for each key head, for each tile of its queries (all query heads of the group together):
//     rotate and scale the queries once, one copy per region of the distance map
//     for each tile of keys:
//       masks:         hidden tiles are not visited, fully visible tiles run no mask code
//       distance map:  one product for a uniform tile, one per region and a blend for a mixed one
//       biases and score maps in the order written, masks, online softmax, weights times values
//     divide, rotate back (RotateValues), write the output and its log-sum-exp
//
// Nothing larger than a tile is made of the scores; keys are rotated as they are packed, once for
// all query heads that share them.
#pragma once

#include <posenc/attention/workspace.hpp>
#include <posenc/simd/dispatch.hpp>

#include <bit>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class Level, class T, class BoundT, bool KeysAreRotated>
class Kernel {
 public:
  Kernel(TensorView<const T> q, TensorView<const T> k, TensorView<const T> v, TensorView<T> out,
         const BoundT& bound, const Coordinates& at, std::span<T> lse, std::byte* workspace)
      : q_(q), k_(k), v_(v), out_(out), bound_(bound), at_(at), lse_(lse), arena_(workspace),
        buffers_(bound, {q.tokens, k.tokens, q.width, v.width}, arena_),
        group_(bound.shape().num_heads / bound.shape().num_kv_heads), scale_(bound.scale(q.width)) {
  }

  void run() noexcept {
    for (Index kv_head = 0; kv_head < k_.heads; ++kv_head) {
      prepare_biases(kv_head);
      for (Index query = 0; query < q_.tokens; query += Level::tile_queries)
        query_tile(kv_head, query, std::min(Level::tile_queries, q_.tokens - query));
    }
  }

 private:
  static constexpr Index tq = Level::tile_queries;
  static constexpr Index tk = Level::tile_keys;
  static constexpr int regions = Buffers<Level, T, BoundT>::regions;

  /// Rotates heads one by one; for encodings with a rotary base.
  [[nodiscard]] auto rotation(const AngleTable& angles, const Turn& turn) const {
    using Layout = typename BoundT::rotary_type::layout;
    return HeadRotation<Level, Layout, T>(bound_.rotary(), angles, turn);
  }

  /// Tabulates relative biases when many scores share a distance; with position ids that are spread
  /// wider than the tokens are many, they are evaluated score by score.
  void prepare_biases(Index kv_head) {
    tables_ = {};
    if (!buffers_.bias || q_.tokens < tq || k_.tokens == 0) return;
    const Interval query = bounds(at_.query, 0, q_.tokens), key = bounds(at_.key, 0, k_.tokens);
    const Position distances = (query.last - key.first) - (query.first - key.last) + 1;
    if (distances > q_.tokens + k_.tokens) return;
    tables_ = {buffers_.bias, static_cast<Index>(distances), query.first - key.last, group_};
    detail::fill_bias_tables(tables_, bound_.stages(), kv_head * group_);
  }

  void query_tile(Index kv_head, Index query, Index queries) {
    for (Index g = 0; g < group_; ++g) begin_rows(kv_head * group_ + g, g, query, queries);
    for (Index key = 0; key < k_.tokens; key += tk) {
      const TileRows rows = make_tile(at_, query, queries, key, std::min(tk, k_.tokens - key));
      const TileClass mask = detail::classify(bound_.stages(), rows.tile);
      if (mask == TileClass::none) continue;
      const RegionSet set = bound_.distance_map().regions(rows.tile);
      for (int region = 0; region < regions; ++region)
        if (set >> region & 1U) pack_keys(kv_head, region, rows);
      pack_values(kv_head, rows);
      for (Index g = 0; g < group_; ++g) {
        score_products(set, rows, g);
        const Index head = kv_head * group_ + g;
        detail::apply_stages(bound_.stages(), tables_, at_, rows, head, g, buffers_.scores, tk);
        if (mask == TileClass::partial)
          detail::apply_masks(bound_.stages(), at_, rows, head, buffers_.scores, tk);
        absorb(rows, g);
      }
    }
    for (Index g = 0; g < group_; ++g) finish_rows(kv_head * group_ + g, g, query, queries);
  }

  [[nodiscard]] T* query_rows(int region, Index g) const {
    return buffers_.queries + (region * group_ + g) * tq * q_.width;
  }
  [[nodiscard]] T* output_rows(Index g) const {
    return buffers_.outputs + g * tq * buffers_.value_stride;
  }

  /// Rotated, scaled copies of the queries; empty sums.
  void begin_rows(Index head, Index g, Index query, Index queries) {
    const SoftmaxRow<T> empty = detail::empty_row<T>(bound_.stages(), head);
    for (int region = 0; region < regions; ++region) {
      T* rows = query_rows(region, g);
      rotate_queries(head, region, query, queries, rows);
      for (Index r = 0; r < queries; ++r)
        Level::scale(rows + r * q_.width, q_.width,
                     static_cast<T>(scale_ * bound_.temperature(at_.query[query + r])));
    }
    std::fill_n(buffers_.softmax + g * tq, queries, empty);
    std::fill_n(output_rows(g), queries * buffers_.value_stride, T{0});
  }

  /// Queries of a tile as rows, rotated for one region.
  void rotate_queries(Index head, int region, Index query, Index queries, T* rows) {
    if constexpr (BoundT::has_rotary) {
      // The attention factor belongs to queries and keys; putting its square on the queries keeps
      // stored keys unitary.
      const double factor = bound_.rotary().state.attention_factor;
      auto rotate = rotation(bound_.region_angles(region),
                             {.amplitude = factor * factor, .side = Side::query});
      for (Index r = 0; r < queries; ++r) {
        const T* x = q_.row(query + r, head);
        T* row = rows + r * q_.width;
        if constexpr (BoundT::has_distance_map)
          rotate(q_.width, x, q_.channel_stride, row, 1,
                 bound_.distance_map().query_position(region, at_.query[query + r]));
        else
          rotate(q_.width, x, q_.channel_stride, row, 1, at_.query, query + r);
      }
    } else {
      for (Index r = 0; r < queries; ++r)
        copy_channels(q_.width, q_.row(query + r, head), q_.channel_stride, rows + r * q_.width, 1);
    }
  }

  /// Keys of a tile as columns, [head_dim][tk], rotated for one region; missing keys are zero.
  void pack_keys(Index kv_head, int region, const TileRows& rows) {
    T* packed = buffers_.keys + region * tk * k_.width;
    if (rows.keys < tk) std::fill_n(packed, tk * k_.width, T{0});
    const auto pack = [&](Index c, const T* x, Index stride) {
      for (Index d = 0; d < k_.width; ++d) packed[d * tk + c] = x[d * stride];
    };
    if constexpr (BoundT::has_rotary && !KeysAreRotated) {
      auto rotate = rotation(bound_.region_angles(region), {.side = Side::key});
      for (Index c = 0; c < rows.keys; ++c) {
        const T* x = k_.row(rows.key + c, kv_head);
        if constexpr (BoundT::has_distance_map)
          rotate(k_.width, x, k_.channel_stride, buffers_.row, 1,
                 bound_.distance_map().key_position(region, at_.key[rows.key + c]));
        else
          rotate(k_.width, x, k_.channel_stride, buffers_.row, 1, at_.key, rows.key + c);
        pack(c, buffers_.row, 1);
      }
    } else {
      for (Index c = 0; c < rows.keys; ++c)
        pack(c, k_.row(rows.key + c, kv_head), k_.channel_stride);
    }
  }

  /// Values of a tile as rows, padded with zeros; rotated by their own position under RotateValues.
  void pack_values(Index kv_head, const TileRows& rows) {
    const auto row_of = [&](Index c) { return buffers_.values + c * buffers_.value_stride; };
    if constexpr (BoundT::rotates_values) {
      auto rotate = rotation(bound_.rotary().angles, {});
      for (Index c = 0; c < rows.keys; ++c)
        rotate(v_.width, v_.row(rows.key + c, kv_head), v_.channel_stride, row_of(c), 1, at_.key,
               rows.key + c);
    } else {
      for (Index c = 0; c < rows.keys; ++c)
        copy_channels(v_.width, v_.row(rows.key + c, kv_head), v_.channel_stride, row_of(c), 1);
    }
    for (Index c = 0; c < rows.keys; ++c)
      std::fill(row_of(c) + v_.width, row_of(c) + buffers_.value_stride, T{0});
    values_are_finite_ = Level::all_finite(buffers_.values, rows.keys * buffers_.value_stride);
  }

  /// Scores of one head: the product of each region that occurs, each pair taking its own region's.
  void score_products(RegionSet set, const TileRows& rows, Index g) {
    const auto product = [&](int region, T* scores) {
      Level::template product<false>(rows.queries, tk, q_.width, query_rows(region, g), q_.width,
                                     buffers_.keys + region * tk * k_.width, tk, scores, tk);
    };
    product(std::countr_zero(set), buffers_.scores);
    if constexpr (regions > 1) {
      for (set &= set - 1; set != 0; set &= set - 1) {
        const int region = std::countr_zero(set);
        product(region, buffers_.blend);
        for (Index r = 0; r < rows.queries; ++r)
          for (Index c = 0; c < rows.keys; ++c)
            if (bound_.distance_map().region(at_.query[rows.query + r], at_.key[rows.key + c]) ==
                region)
              buffers_.scores[r * tk + c] = buffers_.blend[r * tk + c];
      }
    }
  }

  /// Softmax weights of a tile, and their products with its values.
  void absorb(const TileRows& rows, Index g) {
    T* outputs = output_rows(g);
    const Index stride = buffers_.value_stride;
    for (Index r = 0; r < rows.queries; ++r) {
      SoftmaxRow<T>& softmax = buffers_.softmax[g * tq + r];
      const T rescale = softmax.template absorb<Level>(buffers_.scores + r * tk, rows.keys);
      if (rescale != 1) Level::scale(outputs + r * stride, stride, rescale);
    }
    // A hidden key has weight 0, and 0 * infinity must not reach the output of a row that cannot
    // see it.
    if (values_are_finite_)
      Level::template product<true>(rows.queries, stride, rows.keys, buffers_.scores, tk,
                                    buffers_.values, stride, outputs, stride);
    else
      Level::product_skipping_zeros(rows.queries, stride, rows.keys, buffers_.scores, tk,
                                    buffers_.values, stride, outputs, stride);
  }

  void finish_rows(Index head, Index g, Index query, Index queries) {
    for (Index r = 0; r < queries; ++r) {
      const SoftmaxRow<T>& softmax = buffers_.softmax[g * tq + r];
      T* row = output_rows(g) + r * buffers_.value_stride;
      if (!softmax.saw_nothing())
        for (Index i = 0; i < v_.width; ++i) row[i] /= softmax.sum;
      if (!lse_.empty())
        lse_[static_cast<std::size_t>((query + r) * q_.heads + head)] = softmax.log_sum_exp();
    }
    write_rows(head, g, query, queries);
  }

  void write_rows(Index head, Index g, Index query, Index queries) {
    const auto row_of = [&](Index r) { return output_rows(g) + r * buffers_.value_stride; };
    if constexpr (BoundT::rotates_values) {
      auto rotate = rotation(bound_.rotary().angles, {.inverse = true});
      for (Index r = 0; r < queries; ++r)
        rotate(v_.width, row_of(r), 1, out_.row(query + r, head), out_.channel_stride, at_.query,
               query + r);
    } else {
      for (Index r = 0; r < queries; ++r)
        copy_channels(v_.width, row_of(r), 1, out_.row(query + r, head), out_.channel_stride);
    }
  }

  TensorView<const T> q_, k_, v_;
  TensorView<T> out_;
  const BoundT& bound_;
  const Coordinates& at_;
  std::span<T> lse_;
  Arena arena_;
  Buffers<Level, T, BoundT> buffers_;
  Index group_;
  double scale_;
  BiasTables<T> tables_{};
  bool values_are_finite_ = true;
};

}  // namespace detail

POSENC_NAMESPACE_END
