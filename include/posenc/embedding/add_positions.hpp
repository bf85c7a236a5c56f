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
#include <posenc/core/view.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <InputEmbedding E, class T, class PositionOf>
void add_positions_at(const E& embedding, TensorView<T> x, Problems& problems,
                      PositionOf position_of) {
  if constexpr (Checks<E>) embedding.check(problems, HeadShape{});
  problems.require(x.width == embedding.embedding_width(), "the view is ", x.width,
                   " channels wide, but the encoding ", embedding.embedding_width(), ".");
  problems.raise_if_any("posenc::add_positions");

  std::vector<double> p(static_cast<std::size_t>(x.width));
  for (Index token = 0; token < x.tokens; ++token) {
    embedding.embed(position_of(token), std::span<double>(p));
    for (Index head = 0; head < x.heads; ++head)
      for (Index c = 0; c < x.width; ++c) {
        T& value = x(token, head, c);
        value = static_cast<T>(static_cast<double>(value) + p[static_cast<std::size_t>(c)]);
      }
  }
}

template <InputEmbedding E, class T, class P>
void add_listed_positions(const E& embedding, TensorView<T> x, std::span<const P> positions) {
  Problems problems;
  problems.require(static_cast<Index>(positions.size()) == x.tokens, "the view has ", x.tokens,
                   " tokens, but there are ", positions.size(), " positions.");
  add_positions_at(embedding, x, problems, [positions](Index token) {
    return static_cast<double>(positions[static_cast<std::size_t>(token)]);
  });
}

}  // namespace detail

/// Tokens at positions first, first + 1, ... Throws Error when the widths differ, or when the
/// encoding has no vector for a position (tokens before that one have then been added).
template <InputEmbedding E, class T>
void add_positions(const E& embedding, TensorView<T> x, Position first = 0) {
  Problems problems;
  detail::add_positions_at(embedding, x, problems,
                           [first](Index token) { return static_cast<double>(first + token); });
}

/// Tokens at the given positions, one each.
template <InputEmbedding E, class T>
void add_positions(const E& embedding, TensorView<T> x, std::span<const Position> positions) {
  detail::add_listed_positions(embedding, x, positions);
}

/// The same at positions between the whole ones.
template <InputEmbedding E, class T>
void add_positions(const E& embedding, TensorView<T> x, std::span<const double> positions) {
  detail::add_listed_positions(embedding, x, positions);
}

POSENC_NAMESPACE_END
