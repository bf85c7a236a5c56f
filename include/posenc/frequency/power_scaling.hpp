// SPDX-License-Identifier: MIT
//
// PowerScaling: slows pairs down by a power of their place in the ladder.
//
//   Pal et al., Giraffe, arXiv 2308.10882; abacusai/Long-Context, interpolate.py.
//
//   code    w'_i = w_i (1 - 2i/d)^exponent        i = 0 .. d/2 - 1: the first pair is kept
//   paper   w'_i = w_i (1 - 2(i+1)/d)^exponent    the last pair becomes zero, and does not rotate
//
// d is rotary_dim. The two differ because the paper counts pairs from 1; the code is what was
// trained.
//
// Errata. A write-up prints theta_i^(1-d): the power is of 1 - 2i/d and multiplies theta_i.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

enum class PowerScalingForm { code, paper };

struct PowerScaling {
  double exponent = 0;  ///< 0 changes nothing; the authors used 0.5
  PowerScalingForm form = PowerScalingForm::code;

  void transform(RotaryState& state) const {
    const double first = form == PowerScalingForm::paper ? 1 : 0;
    const double pairs = static_cast<double>(state.pairs());
    state.inv_freq *= pair_indices(state.pairs()).unaryExpr([&](double i) {
      return std::pow(1 - (i + first) / pairs, exponent);  // pow(0, 0) is 1
    });
  }

  void check(Problems& problems, const RotaryState&) const {
    problems.require(std::isfinite(exponent) && exponent >= 0,
                     "PowerScaling: exponent must be finite and not negative, got ", exponent, ".");
  }
};

POSENC_NAMESPACE_END
