// SPDX-License-Identifier: MIT
//
// The leaves that decoding calls, of one level, as pointers; see attention/leaves.hpp for why.
#pragma once

#include <posenc/attention/prefill/leaves.hpp>
#include <posenc/attention/prefill/plan.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Products of rows of queries with keys and values in their element T.
template <class T>
struct RowLeaves {
  using U = arithmetic_t<T>;
  void (*dots)(Index rows, Index keys, Index width, const U* q, Index q_row, const T* k,
               Index k_row, U* scores, Index scores_row, simd::Ahead ahead) = nullptr;
  void (*add_values)(Index rows, Index keys, Index width, const U* weights, Index weights_row,
                     const T* values, U* out, Index out_row, simd::Ahead ahead) = nullptr;
  void (*add_values_skipping_zeros)(Index rows, Index keys, Index width, const U* weights,
                                    Index weights_row, const T* values, U* out, Index out_row,
                                    simd::Ahead ahead) = nullptr;
};

template <class Level, class T>
constexpr RowLeaves<T> row_leaves() {
  return {&Level::template dots<T>, &Level::template add_values<false, T>,
          &Level::template add_values<true, T>};
}

/// A tile of scores [row][key], the rows of one key head: all queries of each query head in turn.
struct RowTile {
  Index rows = 0, queries = 0;  ///< rows / queries query heads
  Index keys = 0;               ///< padded
  Index row = 0;                ///< from one row to the next
  Index first_head = 0;
  Tile where{};                           ///< of all of them
  const Position* query = nullptr;        ///< [query]
  const Position* query_index = nullptr;  ///< [query]
  const Position* key = nullptr;          ///< [key]; padding repeats the last
  const Position* key_index = nullptr;    ///< [key]

  [[nodiscard]] Score score(Index r, Index k) const {
    return {query[r % queries], key[k], query_index[r % queries], key_index[k],
            first_head + r / queries};
  }
  /// A row of it.
  [[nodiscard]] Tile where_of(const Score& at) const {
    return {{at.query, at.query}, where.key, {at.query_index, at.query_index}, where.key_index};
  }
};

/// Biases, score maps and masks of a tile, in the order written. Masks are asked when `masked`.
template <class Level, class U, class... Stages>
void apply_row_stages(const std::tuple<Stages...>& stages, const RowTile& tile, bool masked,
                      U* scores) noexcept {
  constexpr bool changes_scores =
      (false || ... || (RelativeBias<Stages> || ScoreBias<Stages> || ScoreMap<Stages>));
  if (!changes_scores && !masked) return;
  for (Index r = 0; r < tile.rows; ++r, scores += tile.row) {
    Score row = tile.score(r, 0);
    const Position *const key = tile.key, *const key_index = tile.key_index;
    [[maybe_unused]] const auto each = [&](const auto& f) {
      Level::map(1, tile.keys, scores, [=](U x, Index, Index k) {
        Score at = row;
        at.key = key[k];
        at.key_index = key_index[k];
        return f(x, at);
      });
    };
    [[maybe_unused]] const auto apply = [&]<class S>(const S& stage) {
      if constexpr (RelativeBias<S>)
        each([&](U x, const Score& at) {
          return x + static_cast<U>(stage.relative_bias(at.head, at.query - at.key));
        });
      else if constexpr (TiledBias<S>)
        stage.tile_bias(tile.where_of(row), row.head, [&](const auto& bias) {
          each([=](U x, const Score& at) { return x + static_cast<U>(bias(at)); });
        });
      else if constexpr (ScoreBias<S>)
        each([&](U x, const Score& at) { return x + static_cast<U>(stage.score_bias(at)); });
      if constexpr (ScoreMap<S>)
        each([&](U x, const Score& at) { return static_cast<U>(stage.map_score(x, at)); });
    };
    std::apply([&](const Stages&... stage) { (apply(stage), ...); }, stages);
    if constexpr ((false || ... || Mask<Stages>))
      if (masked)
        each([&](U x, const Score& at) {
          return detail::visible(stages, at) ? x : -std::numeric_limits<U>::infinity();
        });
  }
}

/// The rotation of an encoding's layout, of keys T on their way into arithmetic.
template <class T, class RotaryT>
struct KeyTurnLeaves {
  using U = arithmetic_t<T>;
  void (*rotate_queries)(const RotaryT& rotary, const AngleTable& table, const Turn& turn,
                         const Positions& positions, const TensorView<const U>& x,
                         const TensorView<U>& y) noexcept = nullptr;
  /// Cosines and sines of all pairs of some tokens, `row` apart.
  void (*angles)(const RotaryT& rotary, const AngleTable& table, const Turn& turn,
                 const Positions& positions, Index tokens, U* cos, U* sin, Index row) = nullptr;
  /// Rows of one head, turned by these.
  void (*turn)(const RotaryT& rotary, const TensorView<const T>& x, const TensorView<U>& y,
               const AngleRows<U>& angles) = nullptr;
  /// The products of such rows, which are turned in registers; null for layouts of a user's own.
  void (*dots)(Index rows, Index keys, Index width, const U* q, Index q_row, const T* k,
               const simd::KeyTurn<U>& turn, U* scores, Index scores_row,
               simd::Ahead ahead) = nullptr;
};
template <class T>
struct KeyTurnLeaves<T, NoRotary> {};

template <class Level, class T, class LayoutT>
void fill_angles(const Rotary<LayoutT>& rotary, const AngleTable& table, const Turn& turn,
                 const Positions& positions, Index tokens, arithmetic_t<T>* cos,
                 arithmetic_t<T>* sin, Index row) {
  using U = arithmetic_t<T>;
  // Behind the last pair may be anything, and the leaf multiplies the zeros there by it.
  const auto copy = [](Index pairs, const U* from, U* to) {
    std::fill(std::copy_n(from, pairs, to), to + round_up(pairs, AngleTable::pair_block), U{0});
  };
  for_angle_runs<Level, U>(rotary, table, turn, positions, 0, tokens,
                           [&](Index t, Index n, Index pair, Index pairs, const auto& angles) {
                             for (Index i = 0; i < n; ++i) {
                               copy(pairs, angles.cos + i * angles.row, cos + (t + i) * row + pair);
                               copy(pairs, angles.sin + i * angles.row, sin + (t + i) * row + pair);
                             }
                           });
}

template <class Level, class T, class LayoutT>
void turn_rows(const Rotary<LayoutT>& rotary, const TensorView<const T>& x,
               const TensorView<arithmetic_t<T>>& y, const AngleRows<arithmetic_t<T>>& angles) {
  for_pair_chunks(rotary.pairs(), [&](Index pair, Index pairs) {
    rotate_pairs<Level, LayoutT>(rotary.block(), pair, pairs, x, y,
                                 {angles.cos + pair, angles.sin + pair, angles.row});
  });
  if (x.width == 2 * rotary.pairs()) return;
  for (Index t = 0; t < x.tokens; ++t)
    copy_unrotated(rotary.block(), x.width, x.row(t, 0), 1, y.row(t, 0), 1);
}

template <class Level, class T, class RotaryT>
constexpr KeyTurnLeaves<T, RotaryT> key_turn_leaves() {
  if constexpr (std::is_same_v<RotaryT, NoRotary>) {
    return {};
  } else {
    using LayoutT = typename RotaryT::layout;
    KeyTurnLeaves<T, RotaryT> leaves{&rotate_rows<Level, LayoutT, arithmetic_t<T>, arithmetic_t<T>>,
                                     &fill_angles<Level, T, LayoutT>, &turn_rows<Level, T, LayoutT>,
                                     nullptr};
    if constexpr (std::is_same_v<LayoutT, HalfSplit> || std::is_same_v<LayoutT, Interleaved>)
      leaves.dots = &Level::template turned_dots<LayoutT, T>;
    return leaves;
  }
}

template <class T, class BoundT>
struct DecodeLeaves {
  using U = arithmetic_t<T>;
  using Stages = std::remove_cvref_t<decltype(std::declval<const BoundT&>().stages())>;
  RowLeaves<T> stored;  ///< keys and values as they are stored
  RowLeaves<U> turned;  ///< keys and values after a rotation
  U (*softmax_row)(Index keys, U* scores, U& shift, U& sum) = nullptr;
  void (*combine)(Index n, U mine, U* y, U theirs, const U* x) = nullptr;
  bool (*copy_finite)(Index n, const U* x, U* y) = nullptr;
  void (*stages)(const Stages& stages, const RowTile& tile, bool masked,
                 U* scores) noexcept = nullptr;
  KeyTurnLeaves<T, typename BoundT::rotary_type> turn;
};

template <class Level, class U, class... S>
constexpr auto row_stages(const std::tuple<S...>*) {
  return &apply_row_stages<Level, U, S...>;
}

/// The leaves of the level that runs.
template <class T, class BoundT>
DecodeLeaves<T, BoundT> decode_leaves() {
  using U = arithmetic_t<T>;
  using Stages = typename DecodeLeaves<T, BoundT>::Stages;
  return simd::dispatch<T>([]<class Level>(Level) -> DecodeLeaves<T, BoundT> {
    return {row_leaves<Level, T>(),
            row_leaves<Level, U>(),
            &Level::template softmax_row<U>,
            &Level::template combine<U>,
            &Level::template copy_finite<U>,
            row_stages<Level, U>(static_cast<const Stages*>(nullptr)),
            key_turn_leaves<Level, T, typename BoundT::rotary_type>()};
  });
}

}  // namespace detail

POSENC_NAMESPACE_END
