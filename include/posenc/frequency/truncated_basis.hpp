// SPDX-License-Identifier: MIT
//
// TruncatedBasis: three kinds of frequencies, those seen in full, one slow one, and zero.
//
//   Pal et al., Giraffe, arXiv 2308.10882; abacusai/Long-Context, interpolate.py.
//
//   w'_i = w_i   where w_i >= high          high = 2pi / wavelength
//          fill  where low <= w_i < high    low  = high / zero_ratio
//          0     where w_i < low            fill = high / fill_ratio, below low
//
// Pairs that turn at least once within `wavelength` tokens have seen every angle and are kept.
// Pairs at frequency 0 do not rotate at all. The formula above is the code's; the paper (`paper`)
// zeroes w_i == low as well, and prints no values for high, low and fill.
//
// Errata. Write-ups say that low frequencies are kept and high ones masked: it is the reverse.
// The code's order is PI | PowerScaling | TruncatedBasis.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>
#include <numbers>

POSENC_NAMESPACE_BEGIN

enum class TruncatedBasisForm { code, paper };

struct TruncatedBasis {
  double wavelength = 2'048;  ///< longest wavelength kept ("truncate"), tokens; infinity keeps all
  double zero_ratio = 8;      ///< wavelengths longer than this many times `wavelength` become zero
  double fill_ratio = 16;     ///< the wavelength of those in between, in units of `wavelength`
  TruncatedBasisForm form = TruncatedBasisForm::code;

  void transform(RotaryState& state) const {
    const double high = 2 * std::numbers::pi / wavelength;
    const double low = high / zero_ratio;
    const double fill = high / fill_ratio;
    const bool keeps_low = form == TruncatedBasisForm::code;
    state.inv_freq = state.inv_freq.unaryExpr([=](double w) {
      if (w >= high) return w;
      return w > low || (keeps_low && w == low) ? fill : 0.0;
    });
  }

  void check(Problems& problems, const RotaryState&) const {
    problems.require(wavelength > 0, "TruncatedBasis: wavelength must be positive, got ",
                     wavelength, ".");
    problems.require(std::isfinite(zero_ratio) && zero_ratio >= 1,
                     "TruncatedBasis: zero_ratio must be at least 1, got ", zero_ratio, ".");
    problems.require(std::isfinite(fill_ratio) && fill_ratio >= 1,
                     "TruncatedBasis: fill_ratio must be at least 1, got ", fill_ratio, ".");
  }
};

POSENC_NAMESPACE_END
