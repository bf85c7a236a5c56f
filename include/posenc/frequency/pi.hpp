// SPDX-License-Identifier: MIT
//
// PI: position interpolation ("linear" scaling).
//
//   Chen et al., arXiv 2306.15595; kaiokendev. Hugging Face: rope_type "linear", key `factor`.
//
//   w'_i = w_i / factor, the same as dividing every position by `factor`
//
// A context of factor * L positions is squeezed into the L that were trained; neighbouring tokens
// move closer together, so it wants fine-tuning.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

struct PI {
  double factor = 1;  ///< target length over trained length, at least 1

  void transform(RotaryState& state) const { state.inv_freq /= factor; }

  void check(Problems& problems, const RotaryState&) const {
    problems.require(std::isfinite(factor) && factor >= 1, "PI: factor must be at least 1, got ",
                     factor, ".");
  }
};

POSENC_NAMESPACE_END
