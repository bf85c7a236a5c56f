// SPDX-License-Identifier: MIT
//
// ABF: adjusted base frequency.
//
//   Xiong et al., arXiv 2309.16039 (base 10,000 -> 500,000); Code Llama, arXiv 2308.12950
//   (1,000,000). Hugging Face has no key for it: a larger `rope_theta` is the same thing.
//
//   w'_i = (beta * base)^(-2i/rotary_dim) = w_i * beta^(-2i/rotary_dim)
//
// The second form is the one computed: it multiplies the table so far, so that ABF may follow
// another transform. Later transforms see the new base. Static; the model is trained on with the
// new base. It is NTK{.alpha = beta^((rotary_dim - 2)/rotary_dim)} under another name: beta = 50
// over 128 channels is alpha = 47.04.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

struct ABF {
  double beta = 50;  ///< new base over old base

  void transform(RotaryState& state) const {
    const double d = static_cast<double>(state.rotary_dim);
    state.inv_freq *=
        pair_indices(state.pairs()).unaryExpr([&](double i) { return std::pow(beta, -2 * i / d); });
    state.base *= beta;
  }

  void check(Problems& problems, const RotaryState& state) const {
    problems.require(std::isfinite(beta) && beta > 0, "ABF: beta must be positive and finite, got ",
                     beta, ".");
    problems.require(
        !(beta > 0) || state.base * beta > 1,
        "ABF: beta times the base must exceed 1, or later pairs would turn faster; got ", beta,
        " * ", state.base, ".");
  }
};

POSENC_NAMESPACE_END
