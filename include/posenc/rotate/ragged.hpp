// SPDX-License-Identifier: MIT
//
// rotate over a ragged batch: every sequence at its own position and, where frequencies depend on the
// length, with its own frequencies. See core/ragged_batch.hpp.
#pragma once

#include <posenc/core/ragged_batch.hpp>
#include <posenc/rotate/rotate.hpp>

#include <algorithm>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// rotary_of(i) is the rotation of sequence i.
template <class LayoutT, std::size_t N, class T, class RotaryOf>
void rotate_ragged(const RotateTensors<T, N>& tensors, const RaggedBatch& batch,
                   const RotateOptions& options, RotateBy by, const RotaryOf& rotary_of) {
  Problems problems;
  batch.check(problems, tensors[0].x.tokens);
  problems.raise_if_any(who(by));
  if (batch.sequences() == 0) return;
  check_tensors(problems, tensors, rotary_of(0).state.head_dim);
  for (Index i = 0; i < batch.sequences() && problems.empty(); ++i) {
    const RotaryState& state = rotary_of(i).state;
    problems.require(state.head_dim == rotary_of(0).state.head_dim,
                     "all sequences must have heads of one width, but sequence ", i,
                     " is bound to ", state.head_dim, " channels and sequence 0 to ",
                     rotary_of(0).state.head_dim, ".");
    const RotateCall call(state, options, by);
    call.check(problems, tensors[0].side);
    check_positions(problems, state, batch.offset(i), batch.tokens_of(i));
    if (call.grows && problems.empty())
      check_growth<T>(problems, state, batch.offset(i), batch.tokens_of(i));
  }
  problems.raise_if_any(who(by));

  for_token_ranges(options.executor, tensors, [&](Index first, Index last) {
    auto i = std::upper_bound(batch.starts.begin(), batch.starts.end(), first) -
             batch.starts.begin() - 1;
    for (; i < batch.sequences() && batch.start(i) < last; ++i) {
      const RotateCall call(rotary_of(i).state, options, by);
      RotateKernel<LayoutT, T, N>::span(tensors, batch.offset(i) - batch.start(i), rotary_of(i),
                                        call, std::max(first, batch.start(i)),
                                        std::min(last, batch.start(i + 1)));
    }
  });
}

/// One encoding for all sequences; a scheme that depends on the length is evaluated at each one's own.
template <class LayoutT, std::size_t N, class T>
void rotate_ragged(const RotateTensors<T, N>& tensors, const RaggedBatch& batch,
                   const Answers& answers, const RotateOptions& options, RotateBy by) {
  Problems problems;
  check_rotation(problems, answers);
  batch.check(problems, tensors[0].x.tokens);
  check_rates(problems, tensors, answers.rotary().heads.empty(), answers.shape());
  problems.raise_if_any(who(by));
  std::vector<Rotary> own;  // one for each sequence
  if (follows_length(answers))
    for (Index i = 0; i < batch.sequences(); ++i) {
      const Index tokens = batch.tokens_of(i);
      const Position length = std::max<Position>(0, Positions(batch.offset(i)).length(tokens));
      own.push_back(length == 0 ? answers.rotary() : answers.rotary_at(length));
    }
  rotate_ragged<LayoutT>(tensors, batch, options, by, [&](Index i) -> const Rotary& {
    return own.empty() ? answers.rotary() : own[static_cast<std::size_t>(i)];
  });
}
template <std::size_t N, class T, class E>
void rotate_ragged(const RotateTensors<T, N>& tensors, const RaggedBatch& batch,
                   const Bound<E>& bound, const RotateOptions& options, RotateBy by) {
  require_rotation<E>();
  rotate_ragged<typename Bound<E>::layout>(tensors, batch, bound.answers(), options, by);
}

/// A bound for each sequence.
template <std::size_t N, class T, class E>
void rotate_ragged(const RotateTensors<T, N>& tensors, const RaggedBatch& batch,
                   std::span<const Bound<E>> bounds, const RotateOptions& options, RotateBy by) {
  require_rotation<E>();
  Problems problems;
  problems.require(std::ssize(bounds) == batch.sequences(), "got ", bounds.size(),
                   " encodings for ", batch.sequences(), " sequences.");
  for (const Bound<E>& bound : bounds) {
    if (!problems.empty()) break;
    check_rotation(problems, bound.answers());
    check_rates(problems, tensors, bound.rotary().heads.empty(), bound.answers().shape());
  }
  problems.raise_if_any(who(by));
  rotate_ragged<typename Bound<E>::layout>(tensors, batch, options, by,
                                           [&](Index i) -> const Rotary& {
                                             return bounds[static_cast<std::size_t>(i)].rotary();
                                           });
}

}  // namespace detail

/// Rotates a ragged batch x [tokens, heads, head_dim] into y; x and y may be the same view.
///
/// A scheme whose frequencies depend on the length is evaluated at the length of each sequence (one
/// more than its greatest position), unless the encoding was bound with a length. That builds tables
/// in the call; to build them once, bind the encoding for each sequence and pass the bounds.
/// Throws Error for starts that do not divide the tokens.
template <class T, class E>
void rotate(std::type_identity_t<TensorView<const T>> x, TensorView<T> y, const RaggedBatch& batch,
            const Bound<E>& bound, const RotateOptions& options = {}) {
  detail::rotate_ragged<1, T>({{{x, y, options.side}}}, batch, bound, options,
                              detail::RotateBy::rotation);
}

/// Rotates a ragged batch in place.
template <class T, class E>
void rotate(TensorView<T> x, const RaggedBatch& batch, const Bound<E>& bound,
            const RotateOptions& options = {}) {
  rotate(TensorView<const T>(x), x, batch, bound, options);
}

/// Rotates queries and keys of a ragged batch in place.
template <class T, class E>
void rotate(TensorView<T> q, TensorView<T> k, const RaggedBatch& batch, const Bound<E>& bound,
            const RotateOptions& options = {}) {
  detail::rotate_ragged<2, T>({{{q, q, Side::query}, {k, k, Side::key}}}, batch, bound, options,
                              detail::RotateBy::rotation);
}

/// Undoes rotate of a ragged batch, in place.
template <class T, class E>
void unrotate(TensorView<T> x, const RaggedBatch& batch, const Bound<E>& bound,
              const RotateOptions& options = {}) {
  detail::rotate_ragged<1, T>({{{x, x, options.side}}}, batch, bound, options,
                              detail::RotateBy::inverse);
}

/// Rotates a ragged batch in place, each sequence by an encoding of its own.
template <class T, class E>
void rotate(TensorView<T> x, const RaggedBatch& batch, std::span<const Bound<E>> bounds,
            const RotateOptions& options = {}) {
  detail::rotate_ragged<1, T>({{{x, x, options.side}}}, batch, bounds, options,
                              detail::RotateBy::rotation);
}
template <class T, class E>
void rotate(TensorView<T> q, TensorView<T> k, const RaggedBatch& batch,
            std::span<const Bound<E>> bounds, const RotateOptions& options = {}) {
  detail::rotate_ragged<2, T>({{{q, q, Side::query}, {k, k, Side::key}}}, batch, bounds, options,
                              detail::RotateBy::rotation);
}

POSENC_NAMESPACE_END
