// SPDX-License-Identifier: MIT
//
// The leaves that decoding calls, of one level, as pointers; see prefill/leaves.hpp for why.
#pragma once

#include <posenc/attention/prefill/leaves.hpp>
#include <posenc/core/arena.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Products of rows of queries with keys and values as they are stored.
template <class U>
struct RowLeaves {
  void (*dots)(Index rows, Index keys, Index width, const U* q, Index q_row, const void* k,
               Index k_row, U* scores, Index scores_row, simd::ReadNext next) = nullptr;
  void (*add_values)(Index rows, Index keys, Index width, const U* weights, Index weights_row,
                     const void* values, U* out, Index out_row, simd::ReadNext next) = nullptr;
  void (*add_values_skipping_zeros)(Index rows, Index keys, Index width, const U* weights,
                                    Index weights_row, const void* values, U* out, Index out_row,
                                    simd::ReadNext next) = nullptr;
};

/// By level, of elements T.
template <class T>
inline constexpr auto row_leaves = simd::by_level<T>([]<class Level>(Level) {
  using U = arithmetic_t<T>;
  RowLeaves<U> leaves;
  leaves.dots = [](Index rows, Index keys, Index width, const U* q, Index q_row, const void* k,
                   Index k_row, U* scores, Index scores_row, simd::ReadNext next) {
    Level::template dots<T>(rows, keys, width, q, q_row, static_cast<const T*>(k), k_row, scores,
                            scores_row, next);
  };
  leaves.add_values = [](Index rows, Index keys, Index width, const U* weights, Index weights_row,
                         const void* values, U* out, Index out_row, simd::ReadNext next) {
    Level::template add_values<false, T>(rows, keys, width, weights, weights_row,
                                         static_cast<const T*>(values), out, out_row, next);
  };
  leaves.add_values_skipping_zeros = [](Index rows, Index keys, Index width, const U* weights,
                                        Index weights_row, const void* values, U* out,
                                        Index out_row, simd::ReadNext next) {
    Level::template add_values<true, T>(rows, keys, width, weights, weights_row,
                                        static_cast<const T*>(values), out, out_row, next);
  };
  return leaves;
});

/// Products of rows of queries with stored keys that are rotated in registers on their way.
template <class U>
using RotatedDots = void (*)(Index rows, Index keys, Index width, const U* q, Index q_row,
                             const void* k, const simd::KeyAngles<U>& angles, U* scores,
                             Index scores_row, simd::ReadNext next);

template <class Level, class LayoutT, class T>
void rotated_dots_of(Index rows, Index keys, Index width, const arithmetic_t<T>* q, Index q_row,
                     const void* k, const simd::KeyAngles<arithmetic_t<T>>& angles,
                     arithmetic_t<T>* scores, Index scores_row, simd::ReadNext next) {
  Level::template rotated_dots<LayoutT, T>(rows, keys, width, q, q_row, static_cast<const T*>(k),
                                           angles, scores, scores_row, next);
}

/// By layout and level; null where it is compiled for another layout, and for layouts of a user's own.
template <class LayoutT, class T>
RotatedDots<arithmetic_t<T>> rotated_dots(const Rotary& rotary, std::size_t level) {
  const auto of = [&]<class L>(std::type_identity<L>) {
    static constexpr auto table = simd::by_level<T>(
        []<class Level>(Level) -> RotatedDots<arithmetic_t<T>> {
          return &rotated_dots_of<Level, L, T>;
        });
    return table[level];
  };
  constexpr bool any = std::is_same_v<LayoutT, AnyLayout>;
  if constexpr (any || std::is_same_v<LayoutT, HalfSplit>)
    if (rotary.layout == &layout_rule<HalfSplit>) return of(std::type_identity<HalfSplit>{});
  if constexpr (any || std::is_same_v<LayoutT, Interleaved>)
    if (rotary.layout == &layout_rule<Interleaved>) return of(std::type_identity<Interleaved>{});
  return nullptr;
}

/// Cosines and sines of all pairs of some tokens, `row` apart, with zeros behind the last pair: there
/// may be anything, and the leaf multiplies the zeros by it.
template <class Level, class U>
void fill_angles(const Rotary& rotary, const AngleTable& table, const Turn& turn,
                 const Positions& positions, Index tokens, U* cos, U* sin, Index row) {
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

/// Rotates rows of one head in place by angles at hand.
template <class U>
using TurnRows = void (*)(const Rotary& rotary, const TensorView<U>& x,
                          const AngleRows<U>& angles);
template <class LayoutT, class U>
inline constexpr auto turn_leaves = simd::by_level<U>([]<class Level>(Level) -> TurnRows<U> {
  if constexpr (Layout<LayoutT> || std::is_same_v<LayoutT, AnyLayout>)
    return [](const Rotary& rotary, const TensorView<U>& x, const AngleRows<U>& angles) {
      for_pair_chunks(rotary.pairs(), [&](Index pair, Index pairs) {
        rotate_pairs<Level, LayoutT, U, U>(rotary, pair, pairs, x, x,
                                           {angles.cos + pair, angles.sin + pair, angles.row});
      });
    };
  else
    return nullptr;
});

/// What depends on nothing but the type that is computed in.
template <class U>
struct SumLeaves {
  U (*softmax_row)(Index keys, U* scores, U& shift, U& sum) = nullptr;
  void (*combine)(Index n, U mine, U* y, U theirs, const U* x) = nullptr;
  bool (*copy_finite)(Index n, const U* x, U* y) = nullptr;
  void (*angles)(const Rotary& rotary, const AngleTable& table, const Turn& turn,
                 const Positions& positions, Index tokens, U* cos, U* sin, Index row) = nullptr;
};
template <class U>
inline constexpr auto sum_leaves = simd::by_level<U>([]<class Level>(Level) {
  return SumLeaves<U>{&Level::template softmax_row<U>, &Level::template combine<U>,
                      &Level::template copy_finite<U>, &fill_angles<Level, U>};
});

/// All that a call needs of the level that runs.
template <class U>
struct DecodeLeaves {
  const RowLeaves<U>* stored = nullptr;  ///< keys and values as they are stored
  const RowLeaves<U>* plain = nullptr;   ///< numbers of U
  const SumLeaves<U>* sums = nullptr;
  RotatedDots<U> rotated_dots = nullptr;
  RotateRows<U> rotate = nullptr;
  TurnRows<U> turn = nullptr;
  std::size_t level = 0;
};

/// For keys and values of elements T.
template <class LayoutT, class T>
DecodeLeaves<arithmetic_t<T>> decode_leaves(const Rotary& rotary, std::size_t level) {
  using U = arithmetic_t<T>;
  return {&row_leaves<T>[level],
          &row_leaves<U>[level],
          &sum_leaves<U>[level],
          rotated_dots<LayoutT, T>(rotary, level),
          rotation_leaves<LayoutT, U>[level],
          turn_leaves<LayoutT, U>[level],
          level};
}

}  // namespace detail

POSENC_NAMESPACE_END
