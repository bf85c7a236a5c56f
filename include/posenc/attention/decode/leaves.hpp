// SPDX-License-Identifier: MIT
//
// The leaves that decoding calls, of one level, as pointers; see prefill/leaves.hpp for why.
#pragma once

#include <posenc/attention/decode/relative.hpp>
#include <posenc/attention/prefill/leaves.hpp>
#include <posenc/bind/bind.hpp>
#include <posenc/core/arena.hpp>
#include <posenc/core/key_state.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Products of rows of queries with keys as they are stored.
template <class U>
using StoredDots = void (*)(Index rows, Index keys, Index width, const U* q, Index q_row,
                            const void* k, Index k_row, U* scores, Index scores_row,
                            simd::ReadNext next);

/// By level, of elements T.
template <class T>
const simd::ByLevel<StoredDots<arithmetic_t<T>>>& dots_leaves() {
  static constexpr auto table = simd::by_level<T>([]<class Level>(Level) {
    using U = arithmetic_t<T>;
    return StoredDots<U>([](Index rows, Index keys, Index width, const U* q, Index q_row,
                            const void* k, Index k_row, U* scores, Index scores_row,
                            simd::ReadNext next) {
      Level::template dots<T>(rows, keys, width, q, q_row, static_cast<const T*>(k), k_row, scores,
                              scores_row, next);
    });
  });
  return table;
}

/// Sums of values as they are stored, by weights.
template <class U>
struct ValueLeaves {
  using Add = void (*)(Index rows, Index keys, Index width, const U* weights, Index weights_row,
                       const void* values, U* out, Index out_row, simd::ReadNext next);
  Add add = nullptr, add_skipping_zeros = nullptr;
};

template <class Level, bool SkipZeros, class T>
void add_values_of(Index rows, Index keys, Index width, const arithmetic_t<T>* weights,
                   Index weights_row, const void* values, arithmetic_t<T>* out, Index out_row,
                   simd::ReadNext next) {
  Level::template add_values<SkipZeros, T>(rows, keys, width, weights, weights_row,
                                           static_cast<const T*>(values), out, out_row, next);
}

/// By level, of elements T.
template <class T>
const simd::ByLevel<ValueLeaves<arithmetic_t<T>>>& value_leaves() {
  static constexpr auto table = simd::by_level<T>([]<class Level>(Level) {
    return ValueLeaves<arithmetic_t<T>>{&add_values_of<Level, false, T>,
                                        &add_values_of<Level, true, T>};
  });
  return table;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const simd::ByLevel<StoredDots<float>>& dots_leaves<float>();
POSENC_DETAIL_FLOAT const simd::ByLevel<ValueLeaves<float>>& value_leaves<float>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<StoredDots<double>>& dots_leaves<double>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<ValueLeaves<double>>& value_leaves<double>();
#endif

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

/// By level, of a layout.
template <class LayoutT, class T>
const simd::ByLevel<RotatedDots<arithmetic_t<T>>>& rotated_dots_leaves() {
  static constexpr auto table =
      simd::by_level<T>([]<class Level>(Level) -> RotatedDots<arithmetic_t<T>> {
        return &rotated_dots_of<Level, LayoutT, T>;
      });
  return table;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const simd::ByLevel<RotatedDots<float>>&
rotated_dots_leaves<HalfSplit, float>();
POSENC_DETAIL_FLOAT const simd::ByLevel<RotatedDots<float>>&
rotated_dots_leaves<Interleaved, float>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<RotatedDots<double>>&
rotated_dots_leaves<HalfSplit, double>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<RotatedDots<double>>&
rotated_dots_leaves<Interleaved, double>();
#endif

/// Null for layouts of a user's own.
template <class LayoutT, class T>
RotatedDots<arithmetic_t<T>> rotated_dots([[maybe_unused]] const Rotary& rotary,
                                          std::size_t level) {
  if constexpr (std::is_same_v<LayoutT, HalfSplit> || std::is_same_v<LayoutT, Interleaved>)
    return rotated_dots_leaves<LayoutT, T>()[level];
  if constexpr (std::is_same_v<LayoutT, AnyLayout>) {
    if (rotary.layout == &layout_rule<HalfSplit>) return rotated_dots_leaves<HalfSplit, T>()[level];
    if (rotary.layout == &layout_rule<Interleaved>)
      return rotated_dots_leaves<Interleaved, T>()[level];
  }
  return nullptr;
}

/// Rotates rows of one head in place by angles at hand.
template <class U>
using TurnRows = void (*)(const Rotary& rotary, const TensorView<U>& x, const AngleRows<U>& angles);
template <class LayoutT, class U>
const simd::ByLevel<TurnRows<U>>& turn_leaves() {
  static constexpr auto table = simd::by_level<U>([]<class Level>(Level) -> TurnRows<U> {
    if constexpr (Layout<LayoutT> || std::is_same_v<LayoutT, AnyLayout>)
      return [](const Rotary& rotary, const TensorView<U>& x, const AngleRows<U>& angles) {
        for_pair_chunks(rotary.pairs(), [&](Index pair, Index pairs) {
          rotate_pairs(rotate_leaves<Level, LayoutT, U, U>, rotary, pair, pairs, x, x,
                       {angles.cos + pair, angles.sin + pair, angles.row});
        });
      };
    else
      return nullptr;
  });
  return table;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const simd::ByLevel<TurnRows<float>>& turn_leaves<HalfSplit, float>();
POSENC_DETAIL_FLOAT const simd::ByLevel<TurnRows<float>>& turn_leaves<Interleaved, float>();
POSENC_DETAIL_FLOAT const simd::ByLevel<TurnRows<float>>& turn_leaves<AnyLayout, float>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<TurnRows<double>>& turn_leaves<HalfSplit, double>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<TurnRows<double>>& turn_leaves<Interleaved, double>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<TurnRows<double>>& turn_leaves<AnyLayout, double>();
#endif

/// What depends on nothing but the type that is computed in.
template <class U>
struct SumLeaves {
  U (*softmax_row)(Index keys, U* scores, U& shift, U& sum) = nullptr;
  U (*softmax_row_spread)(Index keys, U* scores, U& shift, U& sum, U* most, U* spread) = nullptr;
  void (*combine)(Index n, U mine, U* y, U theirs, const U* x) = nullptr;
  bool (*copy_finite)(Index n, const U* x, U* y) = nullptr;
  void (*angles)(const Rotary& rotary, const AngleTable& table, const Turn& turn,
                 const Positions& positions, Index tokens, U* cos, U* sin, Index row) = nullptr;
};
template <class U>
const simd::ByLevel<SumLeaves<U>>& sum_leaves() {
  static constexpr auto table = simd::by_level<U>([]<class Level>(Level) {
    return SumLeaves<U>{&Level::template softmax_row<U>, &Level::template softmax_row_spread<U>,
                        &Level::template combine<U>, &Level::template copy_finite<U>,
                        &fill_angles<Level, U>};
  });
  return table;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const simd::ByLevel<SumLeaves<float>>& sum_leaves<float>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<SumLeaves<double>>& sum_leaves<double>();
#endif

/// All that a call needs of the level that runs.
template <class U>
struct DecodeLeaves {
  StoredDots<U> stored_dots = nullptr, plain_dots = nullptr;  ///< of keys as they lie, of numbers
  const ValueLeaves<U>*stored_values = nullptr, *plain_values = nullptr;
  const SumLeaves<U>* sums = nullptr;
  RotatedDots<U> rotated_dots = nullptr;
  RotateRows<U> rotate = nullptr;
  TurnRows<U> turn = nullptr;
  decltype(&make_decode_relative<U>) make_relative = nullptr;
  std::size_t level = 0;
};

/// For keys and values of elements T in this state, and encodings E. What they cannot need is left null,
/// and not compiled.
template <class E, KeyState State, class T>
DecodeLeaves<arithmetic_t<T>> decode_leaves(const Rotary& rotary, std::size_t level) {
  using U = arithmetic_t<T>;
  using LayoutT = typename Bound<E>::layout;
  constexpr EncodingFacts facts = Bound<E>::encoding_facts;
  constexpr bool turns = State == KeyState::raw && !std::is_same_v<LayoutT, NoLayout>;
  DecodeLeaves<U> leaves{.stored_dots = dots_leaves<T>()[level],
                         .stored_values = &value_leaves<T>()[level],
                         .sums = &sum_leaves<U>()[level],
                         .rotate = rotation_leaves<LayoutT, U>()[level],
                         .level = level};
  if constexpr (turns || facts.has_relative_vectors) leaves.plain_dots = dots_leaves<U>()[level];
  if constexpr ((turns && facts.rotates_values) || facts.has_relative_vectors)
    leaves.plain_values = &value_leaves<U>()[level];
  if constexpr (facts.has_relative_vectors) leaves.make_relative = &make_decode_relative<U>;
  if constexpr (turns) {
    leaves.rotated_dots = rotated_dots<LayoutT, T>(rotary, level);
    leaves.turn = turn_leaves<LayoutT, U>()[level];
  }
  return leaves;
}

}  // namespace detail

POSENC_NAMESPACE_END
