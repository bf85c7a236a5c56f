// SPDX-License-Identifier: MIT
//
// add_positions_backward: the gradient of what an absolute encoding learns.
//
//   x[token, :, c] += p[position(token), c]
//     =>  gradient += sum over tokens and rows of <d_x[token, row], d p[position(token)] / d parameter>
//
//   std::vector<double> gradient(embedding.num_parameters());   // of LearnedAbsolute: as its table
//   add_positions_backward(embedding, d_x, positions, gradient);
//
// The gradient of the result is that of the embeddings it was added to as well: d_x stays as it is.
#pragma once

#include <posenc/core/gradients.hpp>
#include <posenc/embedding/add_positions.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

/// Adds to `gradient`, of the num_parameters() of the embedding in their order, from the gradient d_x of
/// what add_positions left at the same positions. Sums are in double. Throws Error where add_positions
/// does, and for a gradient of another size; nothing is added then.
template <InputEmbedding E, class T>
void add_positions_backward(const E& embedding, TensorView<T> d_x, const Positions& positions,
                            std::span<double> gradient) {
  static_assert(InputEmbeddingGradient<E>,
                "posenc: this embedding does not say its gradient: give it num_parameters() and a "
                "const member embed_gradient(position, d, gradient) (core/gradients.hpp).");
  Problems problems;
  detail::check_embedding(problems, embedding, d_x, positions);
  problems.require(std::ssize(gradient) == embedding.num_parameters(), "the embedding has ",
                   embedding.num_parameters(), " parameters, but there are ", gradient.size(),
                   " gradients.");
  if (problems.empty())
    problems.require(!overlap(d_x, TensorView<double>(gradient.data(), std::ssize(gradient), 1, 1)),
                     "the gradients of parameters must not overlap the view.");
  problems.raise_if_any("posenc::add_positions_backward");

  std::vector<double> d(static_cast<std::size_t>(d_x.width));  // of one token
  for (Index token = 0; token < d_x.tokens; ++token) {
    std::ranges::fill(d, 0.0);
    for (Index head = 0; head < d_x.heads; ++head)
      for (Index c = 0; c < d_x.width; ++c)
        d[static_cast<std::size_t>(c)] += static_cast<double>(d_x(token, head, c));
    embedding.embed_gradient(detail::position_of(positions, token), std::span<const double>(d),
                             gradient);
  }
}

POSENC_NAMESPACE_END
