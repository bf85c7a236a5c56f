// SPDX-License-Identifier: MIT
//
// The gradients of one block of queries and one chunk of keys:
//
//   for each panel of queries, for each query head of the group, for each tile of keys:
//     x   scores, as attention computes them; what score maps were given is kept
//     P   = exp(x - lse)                    weights
//     dP  = d_out v                         of the weights
//     dx  = P (dP - delta), delta = <d_out, out>
//     dv += P d_out
//     through score maps and biases, last to first; sums of dx by distance give those of parameters
//     dq += dx k, dk += dx q                of each region by itself where distances are rewritten
//   rotated back and added to the results
//
// Five products, of which one more would be the scores' own. Queries are scaled when they are packed, so
// dk needs no scale, and dq gets it in the end.
#pragma once

#include <posenc/attention/backward/call.hpp>
#include <posenc/attention/prefill/tile_scores.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class BackwardWorker {
 public:
  BackwardWorker(const BackwardCall<T>& call, const BackwardPlan& plan, const T* delta,
                 std::byte* workspace)
      : call_(call), forward_(call.forward), answers_(call.answers()), map_(answers_.map()),
        rotary_(*forward_.asked.rotary), tile_(*forward_.leaves.tile), plan_(plan),
        tiles_(plan.tiles), delta_(delta), arena_(workspace),
        buffers_(answers_, plan, forward_.shape(), arena_),
        packing_(forward_, tiles_, buffers_.tiles), visibility_(answers_, tiles_, buffers_.tiles),
        bias_tables_(forward_, tiles_, buffers_.tiles),
        scores_(forward_, buffers_.tiles, packing_, bias_tables_) {
    // Channels that only fill vectors stay zero.
    std::fill_n(buffers_.q_rows, map_.regions() * tiles_.panel * plan_.width, T{0});
    std::fill_n(buffers_.d_out, tiles_.panel * plan_.value_width, T{0});
    if (buffers_.k_rows) std::fill_n(buffers_.k_rows, tiles_.tile * plan_.width, T{0});
    std::fill_n(buffers_.ones, tiles_.panel, T{1});
  }

  /// Adds the gradients of a pair to the results, and those of parameters to `parameters`.
  void operator()(Index kv_head, Index block, Index chunk, double* parameters) noexcept {
    kv_head_ = kv_head;
    query_ = block * tiles_.block;
    key_ = chunk * tiles_.chunk;
    parameters_ = parameters;
    queries_ = std::min(tiles_.block, forward_.q.tokens - query_);
    keys_ = std::min(tiles_.chunk, forward_.keys.tokens - key_);
    packing_.begin_block(kv_head, query_, queries_);
    packing_.begin_chunk(key_, keys_);
    visibility_.begin_block(queries_);
    visibility_.begin_chunk(keys_);
    const Rectangle all{0, queries_, 0, keys_};
    if (visibility_.is_hidden(all)) return;
    const Tile where = visibility_.tile_of(all);
    bias_tables_.begin(kv_head, where.query, where.key, tiles_.block + tiles_.chunk);
    std::fill_n(buffers_.d_v, keys_ * plan_.value_width, T{0});
    turned_keys_ = 0;
    checked_keys_ = finite_keys_ = {};
    for (Index first = 0; first < queries_; first += tiles_.panel) {
      const Panel p = packing_.panel(first);
      if (visibility_.is_hidden({first, p.queries, 0, keys_})) continue;
      for (Index g = 0; g < tiles_.group; ++g) panel(p, g);
    }
    add_keys();
  }

 private:
  [[nodiscard]] Index head(Index g) const { return kv_head_ * tiles_.group + g; }

  // --- Panels -----------------------------------------------------------------------------------

  void panel(const Panel& p, Index g) {
    turned_queries_ = 0;
    load_gradient(p, g);
    for (Index i = 0; i < p.width; ++i) {
      const Index row =
          (query_ + p.first + std::min(i, p.queries - 1)) * forward_.q.heads + head(g);
      // A row that sees nothing has no weights, whatever is subtracted.
      const T lse = call_.lse[size(row)];
      buffers_.lse[i] = lse == -std::numeric_limits<T>::infinity() ? T{0} : lse;
      buffers_.delta[i] = delta_[row];
    }
    for (Index c = 0; c < keys_; c += tiles_.tile) tile(p, g, c, std::min(tiles_.tile, keys_ - c));
    add_queries(p, g);
  }

  /// Gradients of the outputs, in the frame of the values where these are rotated.
  void load_gradient(const Panel& p, Index g) {
    const Index width = call_.d_out.width, first = query_ + p.first;
    const TensorView<T> rows(buffers_.d_out, p.queries, 1, width, plan_.value_width, 0);
    finite_d_out_ = true;
    for (Index i = 0; i < p.queries; ++i)
      finite_d_out_ = call_.d_out.load(first + i, head(g), rows.row(i, 0)) && finite_d_out_;
    if (answers_.facts().rotates_values) {
      forward_.leaves.rotate(rotary_, rotary_.angles, {},
                             forward_.query.subspan(size(first), size(p.queries)), rows, rows);
      finite_d_out_ =
          tile_.copy_finite(p.queries * plan_.value_width, buffers_.d_out, buffers_.d_out);
    }
    tile_.to_panel(p.queries, width, p.width, buffers_.d_out, plan_.value_width, buffers_.ones,
                   buffers_.d_panel);
  }

  /// Rotated and scaled queries of the panel as rows, when a region first needs them.
  [[nodiscard]] const T* queries(const Panel& p, int region, Index g) {
    T* const rows = buffers_.q_rows + region * tiles_.panel * plan_.width;
    if ((turned_queries_ >> region & 1U) == 0) {
      turned_queries_ |= RegionSet{1} << region;
      tile_.from_panel(p.queries, forward_.q.width, p.width, packing_.queries(p, region, g),
                       buffers_.ones, rows, plan_.width, 1);
      finite_queries_ = tile_.copy_finite(p.queries * plan_.width, rows, rows);
      std::fill_n(buffers_.d_q + region * tiles_.panel * plan_.width, p.queries * plan_.width,
                  T{0});
    }
    return rows;
  }
  [[nodiscard]] T* key_gradient(int region, Index c) {
    T* const rows = buffers_.d_k + region * tiles_.chunk * plan_.width;
    if ((turned_keys_ >> region & 1U) == 0) {
      turned_keys_ |= RegionSet{1} << region;
      std::fill_n(rows, keys_ * plan_.width, T{0});
    }
    return rows + c * plan_.width;
  }
  [[nodiscard]] const T* keys(int region, Index c, Index count) {
    const T* const packed = packing_.keys(region, c, count);
    const Index width = forward_.q.width;
    const std::uint64_t bit = std::uint64_t{1} << c / tiles_.tile;
    auto &checked = checked_keys_[size(region)], &finite = finite_keys_[size(region)];
    if ((checked & bit) == 0) {
      checked |= bit;
      T* const own = buffers_.tiles.keys + (packed - buffers_.tiles.keys);
      if (tile_.copy_finite(count * width, packed, own)) finite |= bit;
    }
    if (!buffers_.k_rows) return packed;
    for (Index k = 0; k < count; ++k)
      std::copy_n(packed + k * width, width, buffers_.k_rows + k * plan_.width);
    return buffers_.k_rows;
  }

  // --- Tiles ------------------------------------------------------------------------------------

  void tile(const Panel& p, Index g, Index c, Index count) {
    const Rectangle rows{p.first, p.queries, c, count};
    const Tile where = visibility_.tile_of(rows);
    const TileClass mask = answers_.classify(where);
    if (mask == TileClass::none) return;
    const ScoreTile scores{.keys = count,
                           .queries = p.queries,
                           .width = p.width,
                           .head = head(g),
                           .query = buffers_.tiles.query + p.first,
                           .query_index = buffers_.tiles.query_index + p.first,
                           .key = buffers_.tiles.key + c,
                           .key_index = buffers_.tiles.key_index + c,
                           .consecutive = p.consecutive,
                           .where = where};
    scores_.products(p, g, c, scores, {{{p.width, 0, count}}});
    T* saved = buffers_.saved;
    scores_.change(scores, g, [&](std::size_t stage) {
      if (!derivative(stage)) return;
      std::copy_n(buffers_.tiles.scores, count * p.width, saved);
      saved += tiles_.tile * tiles_.panel;
    });
    if (mask == TileClass::partial) scores_.hide(scores);

    const auto values = packing_.values(c, count);
    const Index value_dim = call_.d_out.width;
    for (Index lane = 0; lane < p.width; lane += tile_.panel)
      tile_.scores(count, value_dim, std::min(tile_.panel, p.width - lane), values.rows, value_dim,
                   1, buffers_.d_panel + lane, buffers_.gradient + lane, p.width);
    tile_.softmax_backward(count, p.width, buffers_.tiles.scores, buffers_.gradient, buffers_.lse,
                           buffers_.delta);
    add_product(finite_d_out_, count, p.queries, plan_.value_width, buffers_.tiles.scores, p.width,
                1, buffers_.d_out, buffers_.d_v + c * plan_.value_width);
    through_stages(scores, saved);
    add_products(p, g, c, scores);
  }

  [[nodiscard]] auto derivative(std::size_t stage) const {
    const auto find = call_.derivatives[stage];
    return find ? find(forward_.leaves.level).tile : nullptr;
  }

  /// From the gradient of what the softmax read to that of the products.
  void through_stages(const ScoreTile& tile, T* saved) {
    const std::span<const Stage> stages = answers_.asked();
    double* parameters = parameters_ + plan_.parameters;
    for (std::size_t i = stages.size(); i-- > 0;) {
      const auto& [self, ask] = stages[i];
      if (const auto back = derivative(i)) {
        saved -= tiles_.tile * tiles_.panel;
        back(self, tile, saved, buffers_.gradient);
      }
      if (!parameters_ || !ask->num_parameters) continue;
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

  /// The parameters of a relative bias need the sum of the gradients at each distance.
  void add_by_distance(const Stage& stage, const ScoreTile& tile, std::span<double> parameters) {
    const auto add = [&](Position distance, Index n, const double* sums) {
      stage.ask->relative_bias_gradient(stage.self, tile.head, distance, n, sums, parameters);
    };
    const Position first = tile.key[0], last = tile.key[tile.keys - 1];
    const bool by_table = tile.consecutive && std::abs(last - first) < tiles_.tile &&
                          tile.where.key.last - tile.where.key.first < tiles_.tile;
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

  void add_products(const Panel& p, Index g, Index c, const ScoreTile& tile) {
    const RegionSet set = map_.occurring(tile.where);
    const bool is_mixed = (set & (set - 1)) != 0;
    for (RegionSet rest = set; rest != 0; rest &= rest - 1) {
      const int region = std::countr_zero(rest);
      const T* gradient = buffers_.gradient;
      if (is_mixed) {
        std::fill_n(buffers_.masked, tile.keys * tile.width, T{0});
        scores_.for_region(tile, region, [&](Index at, bool is_here) {
          if (is_here) buffers_.masked[at] = buffers_.gradient[at];
        });
        gradient = buffers_.masked;
      }
      const T* const q = queries(p, region, g);
      const T* const k = keys(region, c, tile.keys);
      const bool finite_keys =
          (finite_keys_[size(region)] >> c / tiles_.tile & std::uint64_t{1}) != 0;
      add_product(finite_queries_, tile.keys, p.queries, plan_.width, gradient, p.width, 1, q,
                  key_gradient(region, c));
      add_product(finite_keys, p.queries, tile.keys, plan_.width, gradient, 1, p.width, k,
                  buffers_.d_q + region * tiles_.panel * plan_.width);
    }
  }

  /// C += A B; rows of B and C have `width` channels. Where B is not finite, a zero of A hides it.
  void add_product(bool is_finite, Index rows, Index inner, Index width, const T* a, Index a_row,
                   Index a_inner, const T* b, T* c) const {
    if (is_finite) {
      for (Index at = 0; at < width; at += tile_.panel)
        tile_.values(rows, inner, std::min(tile_.panel, width - at), a, a_row, a_inner, b + at,
                     c + at, width);
      return;
    }
    for (Index r = 0; r < rows; ++r)
      for (Index i = 0; i < inner; ++i)
        if (const T left = a[r * a_row + i * a_inner]; left != 0)
          for (Index w = 0; w < width; ++w) c[r * width + w] += left * b[i * width + w];
  }

  // --- Results ----------------------------------------------------------------------------------

  /// to += rows, each times its factor where there are factors.
  static void add(const TensorView<T>& rows, const T* factor, const TensorView<T>& to, Index first,
                  Index head) {
    for (Index i = 0; i < rows.tokens; ++i) {
      const T* const x = rows.row(i, 0);
      T* const y = to.row(first + i, head);
      const T times = factor ? factor[i] : T{1};
      if (to.channel_stride == 1)
        for (Index c = 0; c < rows.width; ++c) y[c] += times * x[c];
      else
        for (Index c = 0; c < rows.width; ++c) y[c * to.channel_stride] += times * x[c];
    }
  }

  void add_queries(const Panel& p, Index g) {
    const Index width = forward_.q.width, first = query_ + p.first;
    T* const factor = buffers_.delta;  // no more needed
    for (Index i = 0; i < p.queries; ++i)
      factor[i] = static_cast<T>(packing_.scale() *
                                 answers_.temperature(buffers_.tiles.query[p.first + i]));
    for (; turned_queries_ != 0; turned_queries_ &= turned_queries_ - 1) {
      const int region = std::countr_zero(turned_queries_);
      const TensorView<T> rows(buffers_.d_q + region * tiles_.panel * plan_.width, p.queries, 1,
                               width, plan_.width, 0);
      if (rotary_.layout) {
        const double attention = rotary_.state.attention_factor;
        Positions at = forward_.query.subspan(size(first), size(p.queries));
        if (map_) {
          map_.ask->query_positions(map_.self, region, p.queries, buffers_.tiles.query + p.first,
                                    buffers_.tiles.query_copy);
          at = std::span<const double>(buffers_.tiles.query_copy, size(p.queries));
        }
        // The other way round, but grown as before: that is what the other side does in reverse.
        forward_.leaves.rotate(
            rotary_, rotary_.region_angles(region),
            {.amplitude = attention * attention, .inverse = true, .side = Side::key}, at, rows,
            rows);
      }
      add(rows, factor, call_.d_q, first, head(g));
    }
  }

  void add_keys() {
    const Index width = forward_.q.width;
    const KeySource<T>& source = forward_.keys;
    const auto each_run = [&](T* rows, Index row_width, Index stride, const auto& f) {
      source.for_runs(key_, key_ + keys_, keys_, [&](const KeyRun& run) {
        f(run,
          TensorView<T>(rows + (run.rank - key_) * stride, run.tokens, 1, row_width, stride, 0));
      });
    };
    for (; turned_keys_ != 0; turned_keys_ &= turned_keys_ - 1) {
      const int region = std::countr_zero(turned_keys_);
      each_run(buffers_.d_k + region * tiles_.chunk * plan_.width, width, plan_.width,
               [&](const KeyRun& run, const TensorView<T>& rows) {
                 if (rotary_.layout) {
                   Positions at = run.positions;
                   if (map_) {
                     Position* const copy = buffers_.tiles.key_copy + (run.rank - key_);
                     map_.ask->key_positions(map_.self, region, run.tokens,
                                             buffers_.tiles.key + (run.rank - key_), copy);
                     at = std::span<const Position>(copy, size(run.tokens));
                   }
                   forward_.leaves.rotate(rotary_, rotary_.region_angles(region),
                                          {.inverse = true, .side = Side::query}, at, rows, rows);
                 }
                 add(rows, nullptr, call_.d_k, run.rank, kv_head_);
               });
    }
    each_run(buffers_.d_v, call_.d_out.width, plan_.value_width,
             [&](const KeyRun& run, const TensorView<T>& rows) {
               if (answers_.facts().rotates_values)
                 forward_.leaves.rotate(rotary_, rotary_.angles, {.inverse = true}, run.positions,
                                        rows, rows);
               add(rows, nullptr, call_.d_v, run.rank, kv_head_);
             });
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  static constexpr std::size_t most_regions = std::numeric_limits<RegionSet>::digits;

  const BackwardCall<T>& call_;
  const PrefillCall<T>& forward_;
  const Answers& answers_;
  const MapOfDistances& map_;
  const Rotary& rotary_;
  const TileLeaves<T>& tile_;
  const BackwardPlan& plan_;
  const Plan& tiles_;
  const T* delta_;  ///< [query][head]
  Arena arena_;
  BackwardBuffers<T> buffers_;
  Packing<T> packing_;
  Visibility<T> visibility_;
  BiasTables<T> bias_tables_;
  TileScores<T> scores_;

  Index kv_head_ = 0, query_ = 0, queries_ = 0, key_ = 0, keys_ = 0;  ///< the pair
  double* parameters_ = nullptr;
  RegionSet turned_queries_ = 0, turned_keys_ = 0;  ///< regions with gradients
  std::array<std::uint64_t, most_regions> checked_keys_{}, finite_keys_{};  ///< tiles, by region
  bool finite_queries_ = true, finite_d_out_ = true;
};

}  // namespace detail

POSENC_NAMESPACE_END
