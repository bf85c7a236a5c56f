// SPDX-License-Identifier: MIT
//
// Rotations: the cosines and sines of some tokens, computed once and applied in every layer.
//
//   const Rotations at(bound, positions, tokens);     once per step
//   rotate(q, k, at);                                 in every layer
//   const Rotations back = at.transposed();           once per step of training
//   rotate(d_q, d_k, back);                           rotate_backward, in every layer
//
// They are the numbers that rotate() and rotate_backward() compute in each call, so results have the
// same bits. A token takes rotary_dim of them: 512 bytes for 128 channels in float; as many for each key
// head where these turn at rates of their own (MsPoE).
#pragma once

#include <posenc/rotate/rotate.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

/// U is what elements are computed in: float (for float and the 16-bit types) or double.
template <class LayoutT, class U = float>
class Rotations {
 public:
  using layout = LayoutT;

  /// Throws Error for positions out of range, and where an encoding scales queries and keys
  /// differently (XPos) and RotateOptions::side is left out.
  template <class E>
  Rotations(const Bound<E>& bound, const Positions& positions, Index tokens,
            const RotateOptions& options = {}) {
    assign(bound, positions, tokens, options);
  }

  /// The same for other tokens, in the memory that is there.
  template <class E>
  void assign(const Bound<E>& bound, const Positions& positions, Index tokens,
              const RotateOptions& options = {}) {
    Problems problems;
    problems.require(tokens >= 0, "the number of tokens must not be negative, got ", tokens, ".");
    problems.raise_if_any("posenc::Rotations");
    detail::require_rotation<E>();
    detail::check_rotation(problems, bound.answers());
    problems.raise_if_any("posenc::Rotations");
    const detail::RotaryAtLength at_length(bound.answers(),
                                           [&] { return positions.length(tokens); });
    const Rotary& rotary = *at_length;
    problems.require(rotary.layout == &layout_rule<LayoutT>,
                     "these Rotations are of another layout (HalfSplit, Interleaved) than the "
                     "encoding.");
    const detail::RotateCall call(rotary.state, options, detail::RotateBy::rotation);
    detail::check_positions(problems, rotary.state, positions, tokens);
    call.check(problems, options.side);
    problems.raise_if_any("posenc::Rotations");
    if (call.grows) detail::check_growth<U>(problems, rotary.state, positions, tokens);
    Index all = 0;
    problems.require(multiply(2 * rotary.angles.row_stride() * rotary.rates(), tokens, all),
                     "the angles of ", tokens, " tokens do not fit in memory.");
    problems.raise_if_any("posenc::Rotations");

    head_dim_ = rotary.state.head_dim;
    rotary_.state.rotary_dim = rotary.state.rotary_dim;
    rotary_.offset = rotary.offset;
    tokens_ = tokens;
    stride_ = rotary.angles.row_stride();
    side_ = call.grows ? options.side : std::nullopt;
    angles_.resize(static_cast<std::size_t>(all));
    turn_alike_ = rotary.heads.empty();
    shape_ = bound.answers().shape();
    detail::for_rates(rotary, [&](const Rotary& own, const detail::HeadShare& share) {
      U* const to = angles_.data() + 2 * stride_ * tokens * share.index;
      detail::fill_angles_at_level<U>(own, own.angles, call.turn(options.side), positions, tokens,
                                      to, to + stride_, 2 * stride_);
    });
  }

  /// What takes gradients back, as rotate_backward does: the same cosines, sines of the other sign.
  [[nodiscard]] Rotations transposed() const {
    Rotations other = *this;
    for (Index row = 0; row < tokens_ * rates(); ++row) {
      U* const sines = other.angles_.data() + 2 * stride_ * row + stride_;
      for (Index i = 0; i < stride_; ++i) sines[i] = -sines[i];
    }
    return other;
  }

  [[nodiscard]] Index tokens() const { return tokens_; }
  [[nodiscard]] Index head_dim() const { return head_dim_; }
  [[nodiscard]] RotaryBlock block() const { return rotary_.block(); }
  /// Which channels rotate, without the angles.
  [[nodiscard]] const Rotary& channels() const { return rotary_; }

  /// Whose magnitudes are in the numbers, where queries and keys have different ones.
  [[nodiscard]] std::optional<Side> side() const { return side_; }

  /// Key heads that have angles of their own; 1 where all turn alike.
  [[nodiscard]] Index rates() const { return turn_alike_ ? 1 : shape_.num_kv_heads; }
  [[nodiscard]] bool turn_alike() const { return turn_alike_; }
  /// The heads that the encoding was bound to.
  [[nodiscard]] const HeadShape& shape() const { return shape_; }

  /// Cosines of a token's pairs, times the attention factor; of a key head, where they have angles of their own.
  [[nodiscard]] const U* cos(Index token, Index kv_head = 0) const {
    return angles_.data() + 2 * stride_ * (kv_head * tokens_ + token);
  }
  [[nodiscard]] const U* sin(Index token, Index kv_head = 0) const {
    return cos(token, kv_head) + stride_;
  }

 private:
  Index head_dim_ = 0, tokens_ = 0, stride_ = 0;
  bool turn_alike_ = true;
  HeadShape shape_{};
  Rotary rotary_{.layout = &layout_rule<LayoutT>};
  std::optional<Side> side_;
  std::vector<U> angles_;  ///< [key head][token][cosines, sines][pair, padded]
};

template <class E>
Rotations(const Bound<E>&, const Positions&, Index, const RotateOptions& = {})
    -> Rotations<typename Bound<E>::layout>;

namespace detail {

template <std::size_t N, class T, class LayoutT, class U>
void rotate_all(const RotateTensors<T, N>& tensors, const Rotations<LayoutT, U>& rotations,
                const AnyExecutor& executor) {
  static_assert(std::is_same_v<U, arithmetic_t<T>>,
                "posenc: Rotations for tensors of double are Rotations<Layout, double>; for float "
                "and the 16-bit types Rotations<Layout, float>.");
  Problems problems;
  check_tensors(problems, tensors, rotations.head_dim());
  problems.require(tensors[0].x.tokens == rotations.tokens(), "these are the rotations of ",
                   rotations.tokens(), " tokens, but the tensor has ", tensors[0].x.tokens, ".");
  problems.require(N == 1 || !rotations.side(),
                   "this encoding (XPos) scales queries and keys differently, so each needs "
                   "Rotations of its own.");
  check_rates(problems, tensors, rotations.turn_alike(), rotations.shape());
  problems.raise_if_any("posenc::rotate");
  for_token_ranges(executor, tensors, [&](Index begin, Index end) {
    const Index row = rotations.tokens() > 1 ? rotations.cos(1) - rotations.cos(0) : 0;
    for (Index t = begin, tokens = 0; t < end; t += tokens) {
      // Few at a time, so that the pieces of wide heads meet in the cache.
      tokens = std::min<Index>(8, end - t);
      for (HeadShare share{0, rotations.rates()}; share.index < share.of; ++share.index)
        RotateKernel<LayoutT, T, N>::by_angles(
            heads_of(tensors, share), t, tokens, rotations.channels(),
            {rotations.cos(t, share.index), rotations.sin(t, share.index), row});
    }
  });
}

}  // namespace detail

/// Rotates x [tokens, heads, head_dim] into y; x and y may be the same view.
/// Throws Error on mismatched shapes.
template <class T, class LayoutT, class U>
void rotate(std::type_identity_t<TensorView<const T>> x, TensorView<T> y,
            const Rotations<LayoutT, U>& rotations, const AnyExecutor& executor = {}) {
  detail::rotate_all<1, T>({{{x, y, {}}}}, rotations, executor);
}

/// Rotates in place.
template <class T, class LayoutT, class U>
void rotate(TensorView<T> x, const Rotations<LayoutT, U>& rotations,
            const AnyExecutor& executor = {}) {
  rotate(TensorView<const T>(x), x, rotations, executor);
}

/// Rotates queries and keys of the same tokens in place.
template <class T, class LayoutT, class U>
void rotate(TensorView<T> q, TensorView<T> k, const Rotations<LayoutT, U>& rotations,
            const AnyExecutor& executor = {}) {
  detail::rotate_all<2, T>({{{q, q, {}}, {k, k, {}}}}, rotations, executor);
}

POSENC_NAMESPACE_END
