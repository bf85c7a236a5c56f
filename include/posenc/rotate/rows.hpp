// SPDX-License-Identifier: MIT
//
// Rows on their way through a rotation: the loop over pairs, tokens and heads that every user of
// angles shares, whatever the strides of a tensor are.
#pragma once

#include <posenc/core/element.hpp>
#include <posenc/core/view.hpp>
#include <posenc/rotary/rotary.hpp>
#include <posenc/rotate/token_angles.hpp>

#include <algorithm>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Copies n channels.
template <class X, class Y>
void copy_channels(Index n, const X* x, Index x_stride, Y* y, Index y_stride) {
  if constexpr (std::is_same_v<X, Y>) {
    if (x_stride == 1 && y_stride == 1) {
      std::copy_n(x, n, y);
      return;
    }
  }
  for (Index c = 0; c < n; ++c) {
    if constexpr (std::is_same_v<X, Y>)
      y[c * y_stride] = x[c * x_stride];
    else
      y[c * y_stride] = narrow<Y>(widen(x[c * x_stride]));
  }
}

/// Copies the channels of one head that do not rotate.
template <class X, class Y>
void copy_unrotated(const RotaryBlock& block, Index width, const X* x, Index x_stride, Y* y,
                    Index y_stride) {
  const Index end = block.offset + 2 * block.pairs;
  copy_channels(block.offset, x, x_stride, y, y_stride);
  copy_channels(width - end, x + end * x_stride, x_stride, y + end * y_stride, y_stride);
}

/// Cosines and sines of the chosen pairs of some tokens, `row` apart.
template <class U>
struct AngleRows {
  const U* cos = nullptr;
  const U* sin = nullptr;
  Index row = 0;

  [[nodiscard]] AngleRows from(Index token) const {
    return {cos + token * row, sin + token * row, row};
  }
};

/// What is called of a level to rotate rows of X into Y; see simd/leaves/rotary.inl.
template <class X, class Y>
struct RotateLeaves {
  using U = arithmetic_t<X>;
  using Rotate = void (*)(Index tokens, Index heads, Index first, Index count, Index pairs,
                          const X* x, Index x_row, Index x_stride, Y* y, Index y_row,
                          Index y_stride, const U* cos, const U* sin, Index angle_row);
  AngleLeaves<U> angles{};
  Rotate half_split = nullptr;   ///< for layouts of a user's own too
  Rotate interleaved = nullptr;  ///< null where an encoding cannot need it
};
/// LayoutT is the layout of an encoding, or AnyLayout where it is known at run time.
template <class Level, class LayoutT, class X, class Y>
inline constexpr RotateLeaves<X, Y> rotate_leaves = [] {
  RotateLeaves<X, Y> leaves{.angles = angle_leaves<Level, arithmetic_t<X>>};
  if constexpr (!std::is_same_v<LayoutT, Interleaved>)
    leaves.half_split = &Level::template rotate<HalfSplit, X, Y>;
  if constexpr (std::is_same_v<LayoutT, Interleaved> || std::is_same_v<LayoutT, AnyLayout>)
    leaves.interleaved = &Level::template rotate<Interleaved, X, Y>;
  return leaves;
}();
/// Those of the level that runs.
template <class LayoutT, class X, class Y>
const RotateLeaves<X, Y>& rotate_leaves_at_level() {
  return simd::dispatch<Y>([]<class Level>(Level) -> const RotateLeaves<X, Y>& {
    return rotate_leaves<Level, LayoutT, X, Y>;
  });
}

/// Rotates pairs [first, first + count), at most most_angle_pairs, of all heads of x into y, which
/// may be the same. The same numbers come out whatever the strides are.
template <class X, class Y>
void rotate_pairs(const RotateLeaves<X, Y>& leaves, const Rotary& rotary, Index first, Index count,
                  const std::type_identity_t<TensorView<const X>>& x,
                  const std::type_identity_t<TensorView<Y>>& y,
                  const AngleRows<arithmetic_t<X>>& angles) {
  const Index pairs = rotary.pairs();
  const X* from = x.data + rotary.offset * x.channel_stride;
  Y* to = y.data + rotary.offset * y.channel_stride;
  const bool interleaved = rotary.layout == &layout_rule<Interleaved>;
  const auto rotate = interleaved ? leaves.interleaved : leaves.half_split;
  if (x.channel_stride == 1 && y.channel_stride == 1 &&
      (interleaved || rotary.layout == &layout_rule<HalfSplit>))
    return rotate(x.tokens, x.heads, first, count, pairs, from, x.token_stride, x.head_stride, to,
                  y.token_stride, y.head_stride, angles.cos, angles.sin, angles.row);
  // Layouts of a user's own, and channels that lie apart, are gathered into a block.
  const Index step = interleaved ? 2 : 1, second = interleaved ? 1 : count;
  X packed[2 * most_angle_pairs];
  Y rotated[2 * most_angle_pairs];
  for (Index t = 0; t < x.tokens; ++t)
    for (Index h = 0; h < x.heads; ++h) {
      const X* xh = from + t * x.token_stride + h * x.head_stride;
      Y* yh = to + t * y.token_stride + h * y.head_stride;
      for (Index i = 0; i < count; ++i) {
        packed[step * i] = xh[rotary.layout->first(first + i, pairs) * x.channel_stride];
        packed[step * i + second] = xh[rotary.layout->second(first + i, pairs) * x.channel_stride];
      }
      rotate(1, 1, 0, count, count, packed, 0, 0, rotated, 0, 0, angles.cos + t * angles.row,
             angles.sin + t * angles.row, 0);
      for (Index i = 0; i < count; ++i) {
        yh[rotary.layout->first(first + i, pairs) * y.channel_stride] = rotated[step * i];
        yh[rotary.layout->second(first + i, pairs) * y.channel_stride] = rotated[step * i + second];
      }
    }
}

/// Calls f(first, count) for the pairs of a head, in pieces that fit TokenAngles.
template <class F>
void for_pair_chunks(Index pairs, F&& f) {
  constexpr Index most = most_angle_pairs;
  for (Index first = 0; first < pairs; first += most) f(first, std::min(most, pairs - first));
}

/// Tokens [first, first + tokens) of a view.
template <class T>
TensorView<T> tokens_of(TensorView<T> view, Index first, Index tokens) {
  view.data = view.row(first, 0);
  view.tokens = tokens;
  return view;
}

/// One head of a view.
template <class T>
TensorView<T> head_of(TensorView<T> view, Index head) {
  view.data = view.row(0, head);
  view.heads = 1;
  return view;
}

/// A share of the heads of a tensor, all of them or those of one key head.
struct HeadShare {
  Index index = 0, of = 1;
};
template <class T>
TensorView<T> heads_of(TensorView<T> view, const HeadShare& share) {
  view.heads /= share.of;
  view.data += share.index * view.heads * view.head_stride;
  return view;
}
/// Calls f(rotary, share) for tensors of the key heads [kv_head, kv_head + kv_heads), or of the query heads that
/// meet them: for all heads together where they turn alike, otherwise for those of one key head after another.
template <class F>
void for_rates(const Rotary& rotary, Index kv_head, Index kv_heads, const F& f) {
  if (rotary.heads.empty()) return f(rotary, HeadShare{});
  for (Index h = 0; h < kv_heads; ++h) f(rotary.of(kv_head + h), HeadShare{h, kv_heads});
}
/// For tensors of all heads.
template <class F>
void for_rates(const Rotary& rotary, const F& f) {
  for_rates(rotary, 0, rotary.rates(), f);
}

/// Calls f(token, tokens, pair, pairs, angles) for runs of the tokens [first, last), with the angles
/// of some of their pairs, until all pairs of all tokens had their turn.
template <class U, class F>
void for_angle_runs(const AngleLeaves<U>& leaves, const Rotary& rotary, const AngleTable& table,
                    const Turn& turn, const Positions& positions, Index first, Index last,
                    const F& f) {
  using Angles = TokenAngles<U>;
  Angles angles(leaves, rotary.state, table, turn);
  for_pair_chunks(rotary.pairs(), [&](Index pair, Index pairs) {
    angles.choose(pair, pairs);
    for (Index t = first, tokens = 0; t < last; t += tokens) {
      tokens = angles.fill(positions, t, last);
      f(t, tokens, pair, pairs, AngleRows<U>{angles.cos(), angles.sin(), Angles::row});
    }
  });
}

/// Rotates tokens of x, each at its own position, into y: y = amplitude * R x on the rotary block, a
/// copy elsewhere.
template <class X, class Y>
void rotate_rows(const RotateLeaves<X, Y>& leaves, const Rotary& rotary, const AngleTable& table,
                 const Turn& turn, const Positions& positions, const TensorView<const X>& x,
                 const TensorView<Y>& y) noexcept {
  for_angle_runs(leaves.angles, rotary, table, turn, positions, 0, x.tokens,
                 [&](Index t, Index tokens, Index pair, Index pairs, const auto& angles) {
                   rotate_pairs(leaves, rotary, pair, pairs, tokens_of(x, t, tokens),
                                tokens_of(y, t, tokens), angles);
                 });
  if (x.width == 2 * rotary.pairs()) return;
  for (Index t = 0; t < x.tokens; ++t)
    for (Index h = 0; h < x.heads; ++h)
      copy_unrotated(rotary.block(), x.width, x.row(t, h), x.channel_stride, y.row(t, h),
                     y.channel_stride);
}

/// The same at a level, for tables of functions.
template <class Level, class LayoutT, class X, class Y>
void rotate_rows(const Rotary& rotary, const AngleTable& table, const Turn& turn,
                 const Positions& positions, const TensorView<const X>& x,
                 const TensorView<Y>& y) noexcept {
  rotate_rows(rotate_leaves<Level, LayoutT, X, Y>, rotary, table, turn, positions, x, y);
}

/// Cosines and sines of all pairs of some tokens, `row` apart, with zeros behind the last pair: there
/// may be anything, and the leaf multiplies the zeros by it.
template <class U>
void fill_angles(const AngleLeaves<U>& leaves, const Rotary& rotary, const AngleTable& table,
                 const Turn& turn, const Positions& positions, Index tokens, U* cos, U* sin,
                 Index row) {
  constexpr Index block = AngleTable::pair_block;
  const auto copy = [](Index pairs, const U* from, U* to) {
    std::fill(std::copy_n(from, pairs, to), to + (pairs + block - 1) / block * block, U{0});
  };
  for_angle_runs(leaves, rotary, table, turn, positions, 0, tokens,
                 [&](Index t, Index n, Index pair, Index pairs, const auto& angles) {
                   for (Index i = 0; i < n; ++i) {
                     copy(pairs, angles.cos + i * angles.row, cos + (t + i) * row + pair);
                     copy(pairs, angles.sin + i * angles.row, sin + (t + i) * row + pair);
                   }
                 });
}
template <class Level, class U>
void fill_angles(const Rotary& rotary, const AngleTable& table, const Turn& turn,
                 const Positions& positions, Index tokens, U* cos, U* sin, Index row) {
  fill_angles(angle_leaves<Level, U>, rotary, table, turn, positions, tokens, cos, sin, row);
}

/// rotate_rows at the level that runs.
template <class LayoutT, class X, class Y>
void rotate_rows_at_level(const Rotary& rotary, const AngleTable& table, const Turn& turn,
                          const Positions& positions, const TensorView<const X>& x,
                          const TensorView<Y>& y) {
  rotate_rows(rotate_leaves_at_level<LayoutT, X, Y>(), rotary, table, turn, positions, x, y);
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void rotate_rows_at_level<HalfSplit, float, float>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&, const TensorView<const float>&,
    const TensorView<float>&);
POSENC_DETAIL_FLOAT void rotate_rows_at_level<Interleaved, float, float>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&, const TensorView<const float>&,
    const TensorView<float>&);
POSENC_DETAIL_FLOAT void rotate_rows_at_level<AnyLayout, float, float>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&, const TensorView<const float>&,
    const TensorView<float>&);
POSENC_DETAIL_DOUBLE void rotate_rows_at_level<HalfSplit, double, double>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&,
    const TensorView<const double>&, const TensorView<double>&);
POSENC_DETAIL_DOUBLE void rotate_rows_at_level<Interleaved, double, double>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&,
    const TensorView<const double>&, const TensorView<double>&);
POSENC_DETAIL_DOUBLE void rotate_rows_at_level<AnyLayout, double, double>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&,
    const TensorView<const double>&, const TensorView<double>&);
#endif

/// fill_angles at the level that runs.
template <class U>
void fill_angles_at_level(const Rotary& rotary, const AngleTable& table, const Turn& turn,
                          const Positions& positions, Index tokens, U* cos, U* sin, Index row) {
  simd::dispatch<U>([&]<class Level>(Level) {
    fill_angles<Level, U>(rotary, table, turn, positions, tokens, cos, sin, row);
  });
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void fill_angles_at_level<float>(const Rotary&, const AngleTable&, const Turn&,
                                                     const Positions&, Index, float*, float*,
                                                     Index);
POSENC_DETAIL_DOUBLE void fill_angles_at_level<double>(const Rotary&, const AngleTable&,
                                                       const Turn&, const Positions&, Index,
                                                       double*, double*, Index);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
