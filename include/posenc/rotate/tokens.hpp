// SPDX-License-Identifier: MIT
//
// What all forms of rotate() share: their rules, and the loop over tokens.
//
// Rotation moves more bytes than it computes, so the loop goes through memory once, token by token:
// angles of a token, then all heads of all tensors. Threads take contiguous ranges of tokens.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/overlap.hpp>
#include <posenc/executor/chunks.hpp>
#include <posenc/rotary/growth.hpp>
#include <posenc/rotate/options.hpp>
#include <posenc/rotate/rows.hpp>

#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// One tensor of a call.
template <class T>
struct RotateTensor {
  static_assert(!std::is_const_v<T>,
                "posenc: this view is of const elements, which cannot be written: make it a "
                "TensorView<T>, not a TensorView<const T>.");
  static_assert(
      Element<std::remove_const_t<T>>,
      "posenc: rotate takes float or double, Eigen::bfloat16 or Eigen::half, or a type of "
      "your own with an ElementTraits (core/element.hpp).");
  TensorView<const T> x;
  TensorView<T> y;
  std::optional<Side> side;
};
template <class T, std::size_t N>
using RotateTensors = std::array<RotateTensor<T>, N>;

/// What the vectors of a call are multiplied by: A M R, its inverse, or its transpose.
enum class RotateBy { rotation, inverse, transpose };

/// Whose call it is.
constexpr const char* who(RotateBy by) {
  switch (by) {
    case RotateBy::inverse:
      return "posenc::unrotate";
    case RotateBy::transpose:
      return "posenc::rotate_backward";
    default:
      return "posenc::rotate";
  }
}

/// What is done to every token of a call.
struct RotateCall {
  RotateBy by;
  bool grows;        ///< queries and keys have magnitudes of their own
  double amplitude;  ///< infinite where an attention factor of 0 is to be undone

  RotateCall(const RotaryState& state, const RotateOptions& options, RotateBy by_)
      : by(by_), grows(state.growth.size() != 0) {
    const double a = options.attention_factor ? state.attention_factor : 1.0;
    amplitude = by == RotateBy::inverse ? 1 / a : a;
  }
  void check(Problems& problems, std::optional<Side> side) const {
    problems.require(std::isfinite(amplitude),
                     "the attention factor is 0, so it cannot be undone.");
    problems.require(!grows || side,
                     "this encoding (XPos) scales queries and keys differently: say which this is "
                     "with RotateOptions::side, or rotate both in one call.");
  }
  [[nodiscard]] Turn turn(std::optional<Side> side) const {
    // A transpose keeps magnitudes, which are those of the other side in reverse.
    if (side && by == RotateBy::transpose) side = *side == Side::query ? Side::key : Side::query;
    return {amplitude, by != RotateBy::rotation, side};
  }
};

template <class T, std::size_t N>
POSENC_DETAIL_COLD void check_tensors(Problems& problems, const RotateTensors<T, N>& tensors,
                                      Index head_dim) {
  for (const auto& [x, y, side] : tensors) {
    check_view(problems, "the input", x);
    check_view(problems, "the output", y);
  }
  if (!problems.empty()) return;
  for (const auto& [x, y, side] : tensors) {
    problems.require(x.tokens == y.tokens && x.heads == y.heads && x.width == y.width,
                     "input and output must have the same shape, got ", ShapeText(x), " and ",
                     ShapeText(y), ".");
    problems.require(x.width == head_dim, "the encoding rotates heads of ", head_dim,
                     " channels, but these have ", x.width, ".");
    problems.require(same_elements(x, y) || !overlap(x, y),
                     "input and output must be the same view (in place) or must not overlap.");
    check_result(problems, "the output", y);
  }
  if constexpr (N == 2) {
    problems.require(tensors[0].x.tokens == tensors[1].x.tokens,
                     "queries and keys of one call must be of the same tokens, got ",
                     ShapeText(tensors[0].x), " and ", ShapeText(tensors[1].x), ".");
    problems.require(!overlap(tensors[0].y, tensors[1].y), "queries and keys must not overlap.");
  }
}

POSENC_DETAIL_COLD inline void check_positions(Problems& problems, const RotaryState& state,
                                               const Positions& positions, Index tokens) {
  positions.check(problems, "tokens", tokens);
  problems.require(positions.axes() == 1 || positions.axes() == state.axes, "got positions of ",
                   positions.axes(), " coordinates, but the encoding has ", state.axes, ".");
}

/// Magnitudes that grow with the distance from the centre have to stay within the elements.
template <class T>
void check_growth(Problems& problems, const RotaryState& state, const Positions& positions,
                  Index tokens) {
  // float16 ends at 65504 = e^11.09
  constexpr double most = element_format<T> == ElementFormat::float16 ? 11 : 80;
  check_growth(problems, "tokens", state, positions, tokens, most);
}

/// Where key heads turn at rates of their own, reports tensors that are neither of all query heads nor of all key
/// heads.
template <class T, std::size_t N>
POSENC_DETAIL_COLD void check_rates(Problems& problems, const RotateTensors<T, N>& tensors,
                                    bool turn_alike, const HeadShape& bound) {
  for (const auto& [x, y, side] : tensors)
    problems.require(
        turn_alike || x.heads == bound.num_heads || x.heads == bound.num_kv_heads,
        "key heads of this encoding turn at rates of their own (MsPoE), and it is bound to ",
        bound.num_heads, " query and ", bound.num_kv_heads, " key heads, but the tensor has ",
        x.heads, ": bind it with the model's num_heads and num_kv_heads.");
}

/// The same share of the heads of all tensors.
template <class T, std::size_t N>
RotateTensors<T, N> heads_of(RotateTensors<T, N> tensors, const HeadShare& share) {
  for (auto& [x, y, side] : tensors) {
    x = heads_of(x, share);
    y = heads_of(y, share);
  }
  return tensors;
}

/// Rotates some pairs of all heads of tokens [t, t + tokens), in all tensors.
template <class T, std::size_t N>
void rotate_some(const RotateLeaves<T, T>& leaves, const RotateTensors<T, N>& tensors, Index t,
                 Index tokens, const Rotary& rotary, Index first, Index count,
                 const AngleRows<arithmetic_t<T>>& angles) {
  const RotaryBlock block = rotary.block();
  for (const auto& [x, y, side] : tensors) {
    if (x.heads == 0) continue;  // there may be no memory to point into
    rotate_pairs(leaves, rotary, first, count, tokens_of(x, t, tokens), tokens_of(y, t, tokens),
                 angles);
    if (first != 0 || x.data == y.data || x.width == 2 * block.pairs) continue;
    for (Index i = t; i < t + tokens; ++i)
      for (Index h = 0; h < x.heads; ++h)
        copy_unrotated(block, x.width, x.row(i, h), x.channel_stride, y.row(i, h),
                       y.channel_stride);
  }
}

/// Rotates tokens [first, last). All tensors have the same magnitudes.
template <class T, std::size_t N>
void rotate_range(const RotateLeaves<T, T>& leaves, const RotateTensors<T, N>& tensors,
                  const Positions& positions, const Rotary& rotary, const Turn& turn, Index first,
                  Index last) {
  for_rates(rotary, [&](const Rotary& own, const HeadShare& share) {
    const RotateTensors<T, N> some = heads_of(tensors, share);
    for_angle_runs(leaves.angles, own, own.angles, turn, positions, first, last,
                   [&](Index t, Index tokens, Index pair, Index pairs, const auto& angles) {
                     rotate_some(leaves, some, t, tokens, own, pair, pairs, angles);
                   });
  });
}

/// The same, where queries and keys may have magnitudes of their own.
template <class T, std::size_t N>
void rotate_sides(const RotateLeaves<T, T>& leaves, const RotateTensors<T, N>& tensors,
                  const Positions& positions, const Rotary& rotary, const RotateCall& call,
                  Index first, Index last) {
  if (!call.grows)
    return rotate_range(leaves, tensors, positions, rotary, call.turn({}), first, last);
  for (const RotateTensor<T>& tensor : tensors)
    rotate_range(leaves, RotateTensors<T, 1>{{tensor}}, positions, rotary, call.turn(tensor.side),
                 first, last);
}

/// Calls body(first, last) for ranges of tokens, in parallel where that is worth a thread's start.
template <class T, std::size_t N, class Body>
void for_token_ranges(const AnyExecutor& executor, const RotateTensors<T, N>& tensors,
                      const Body& body) {
  constexpr Index worth_a_thread = Index{1} << 17;  // bytes
  Index bytes = 1;
  for (const auto& [x, y, side] : tensors)
    bytes += x.heads * x.width * static_cast<Index>(sizeof(T));
  for_chunks(executor, tensors[0].x.tokens, worth_a_thread / bytes + 1, body);
}

/// What a program can have compiled once: one rotation at the level that runs.
template <class LayoutT, class T, std::size_t N>
struct RotateKernel {
  /// Tokens [first, last).
  static void span(const RotateTensors<T, N>& tensors, const Positions& positions,
                   const Rotary& rotary, const RotateCall& call, Index first, Index last);
  /// Tokens [t, t + tokens) by angles at hand, which begin with those of token t.
  static void by_angles(const RotateTensors<T, N>& tensors, Index t, Index tokens,
                        const Rotary& rotary, const AngleRows<arithmetic_t<T>>& angles);
  /// The same for pairs [first, first + count), at most most_angle_pairs, by angles that begin with those of pair first.
  static void pairs_by_angles(const RotateTensors<T, N>& tensors, Index t, Index tokens,
                              const Rotary& rotary, Index first, Index count,
                              const AngleRows<arithmetic_t<T>>& angles);
};

template <class LayoutT, class T, std::size_t N>
void RotateKernel<LayoutT, T, N>::span(const RotateTensors<T, N>& tensors,
                                       const Positions& positions, const Rotary& rotary,
                                       const RotateCall& call, Index first, Index last) {
  rotate_sides(rotate_leaves_at_level<LayoutT, T, T>(), tensors, positions, rotary, call, first,
               last);
}

template <class LayoutT, class T, std::size_t N>
void RotateKernel<LayoutT, T, N>::by_angles(const RotateTensors<T, N>& tensors, Index t,
                                            Index tokens, const Rotary& rotary,
                                            const AngleRows<arithmetic_t<T>>& angles) {
  const RotateLeaves<T, T>& leaves = rotate_leaves_at_level<LayoutT, T, T>();
  for_pair_chunks(rotary.pairs(), [&](Index first, Index count) {
    rotate_some(leaves, tensors, t, tokens, rotary, first, count,
                {angles.cos + first, angles.sin + first, angles.row});
  });
}

template <class LayoutT, class T, std::size_t N>
void RotateKernel<LayoutT, T, N>::pairs_by_angles(const RotateTensors<T, N>& tensors, Index t,
                                                  Index tokens, const Rotary& rotary, Index first,
                                                  Index count,
                                                  const AngleRows<arithmetic_t<T>>& angles) {
  rotate_some(rotate_leaves_at_level<LayoutT, T, T>(), tensors, t, tokens, rotary, first, count,
              angles);
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT struct RotateKernel<HalfSplit, float, 1>;
POSENC_DETAIL_FLOAT struct RotateKernel<HalfSplit, float, 2>;
POSENC_DETAIL_FLOAT struct RotateKernel<Interleaved, float, 1>;
POSENC_DETAIL_FLOAT struct RotateKernel<Interleaved, float, 2>;
POSENC_DETAIL_FLOAT struct RotateKernel<AnyLayout, float, 1>;
POSENC_DETAIL_FLOAT struct RotateKernel<AnyLayout, float, 2>;
POSENC_DETAIL_DOUBLE struct RotateKernel<HalfSplit, double, 1>;
POSENC_DETAIL_DOUBLE struct RotateKernel<HalfSplit, double, 2>;
POSENC_DETAIL_DOUBLE struct RotateKernel<Interleaved, double, 1>;
POSENC_DETAIL_DOUBLE struct RotateKernel<Interleaved, double, 2>;
POSENC_DETAIL_DOUBLE struct RotateKernel<AnyLayout, double, 1>;
POSENC_DETAIL_DOUBLE struct RotateKernel<AnyLayout, double, 2>;
#endif

template <class LayoutT, class T, std::size_t N>
void rotate_checked(const RotateTensors<T, N>& tensors, const Positions& positions,
                    const Rotary& rotary, const RotateCall& call, const AnyExecutor& executor) {
  for_token_ranges(executor, tensors, [&](Index first, Index last) {
    RotateKernel<LayoutT, T, N>::span(tensors, positions, rotary, call, first, last);
  });
}

}  // namespace detail

POSENC_NAMESPACE_END
