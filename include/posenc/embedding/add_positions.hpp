// SPDX-License-Identifier: MIT
//
// add_positions: adds an absolute encoding to token embeddings, in place.
//
//   x[token, :, c] += p[position(token), c]
//
//   add_positions(Sinusoidal{.width = 512}, TensorView(x.data(), tokens, 1, 512), first_position);
//
// The width of the view is the width of the model. Its middle axis is free: every row of a token
// receives the same vector, so that a batch of sequences may lie there. Values are computed in
// double and rounded once.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/overlap.hpp>
#include <posenc/core/positions.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

inline double position_of(const Positions& positions, Index token) {
  return positions.is_real() ? positions.real(token) : static_cast<double>(positions[token]);
}

/// Reports what is wrong with a call for x.
template <InputEmbedding E, class T>
void check_embedding(Problems& problems, const E& embedding, const TensorView<T>& x,
                     const Positions& positions) {
  if constexpr (Checks<E>) embedding.check(problems, HeadShape{});
  check_view(problems, "the view", x);
  problems.require(x.width == embedding.embedding_width(), "the view is ", x.width,
                   " channels wide, but the encoding ", embedding.embedding_width(), ".");
  positions.check(problems, "tokens", x.tokens);
  problems.require(positions.axes() == 1, "an embedding has one position per token, got ",
                   positions.axes(), " coordinates.");
  if constexpr (requires { embedding.check_position(problems, 0.0); })
    for (Index token = 0; token < x.tokens && problems.empty(); ++token)
      embedding.check_position(problems, position_of(positions, token));
}

}  // namespace detail

/// Tokens at the given positions: an offset, or one position each, whole or real. Throws Error when
/// the widths differ, or when the encoding has no vector for a position.
template <InputEmbedding E, class T>
void add_positions(const E& embedding, TensorView<T> x, const Positions& positions = 0) {
  Problems problems;
  detail::check_embedding(problems, embedding, x, positions);
  problems.raise_if_any("posenc::add_positions");

  std::vector<double> p(static_cast<std::size_t>(x.width));
  for (Index token = 0; token < x.tokens; ++token) {
    embedding.embed(detail::position_of(positions, token), std::span<double>(p));
    for (Index head = 0; head < x.heads; ++head)
      for (Index c = 0; c < x.width; ++c) {
        T& value = x(token, head, c);
        value = static_cast<T>(static_cast<double>(value) + p[static_cast<std::size_t>(c)]);
      }
  }
}

POSENC_NAMESPACE_END
