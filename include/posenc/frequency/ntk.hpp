// SPDX-License-Identifier: MIT
//
// NTK: NTK-aware interpolation with a fixed scale, and three relatives.
//
//   bloc97, 2023 (r/LocalLLaMA); Su, kexue.fm/archives/9675 and 9706 for the `su_` forms.
//   vLLM and Hunyuan: rope_type "dynamic" with the key `alpha` is `bloc97`, static in spite of its
//   name; vLLM: rope_type "ntk" with `factor` is `su_fixed`, with `mixed_b` it is `su_mixed`.
//
// w'_i = w_i / Lambda_i over the pairs i = 0 .. d/2 - 1, d = rotary_dim:
//
//   bloc97     Lambda_i = alpha^(2i/(d-2))                  base' = base * alpha^(d/(d-2))
//   su_old     Lambda_i = alpha^(2i/d)                      base' = base * alpha
//   su_fixed   Lambda_i = alpha^(2(i+1)/d)                  base' = base * alpha, all pairs slower
//   su_mixed   Lambda_i = exp(a (i+1)^c), a = ln(alpha) / (d/2)^c
//
// High frequencies, which tell neighbours apart, are kept (bloc97 and su_old keep w_0 exactly); the
// lowest is divided by alpha as PI does, except in su_old, which stops short of it. su_mixed with
// c = 1 is su_fixed, with c = 0 it is PI.
//
// Errata. Write-ups that change the base from b to alpha * b describe su_old, not bloc97. "Fixed"
// is Su's word for the repaired exponent and has nothing to do with a fixed scale. alpha equals the
// context's growth only in theory: in practice it is chosen greater.
//
// With two rotary channels there is one pair and d - 2 is zero; bloc97 then leaves it as it is.
#pragma once

#include <posenc/frequency/abf.hpp>

POSENC_NAMESPACE_BEGIN

enum class NTKForm { bloc97, su_old, su_fixed, su_mixed };

struct NTK {
  double alpha = 1;                ///< scale, at least 1
  NTKForm form = NTKForm::bloc97;  ///< see above
  double exponent = 0.625;         ///< c of su_mixed ("mixed_b"; bojone/rerope has 0.75)

  void transform(RotaryState& state) const {
    const double d = static_cast<double>(state.rotary_dim);
    switch (form) {
      case NTKForm::bloc97:
        if (state.rotary_dim > 2) ABF{.beta = std::pow(alpha, d / (d - 2))}.transform(state);
        break;
      case NTKForm::su_old:
        ABF{.beta = alpha}.transform(state);
        break;
      case NTKForm::su_fixed:
        state.inv_freq /= rescale_factors(state.pairs(), 1);
        state.base *= alpha;
        break;
      case NTKForm::su_mixed:
        state.inv_freq /= rescale_factors(state.pairs(), exponent);
        break;
    }
  }

  void check(Problems& problems, const RotaryState&) const {
    problems.require(std::isfinite(alpha) && alpha >= 1, "NTK: alpha must be at least 1, got ",
                     alpha, ".");
    problems.require(
        form != NTKForm::su_mixed || (exponent >= 0 && exponent <= 1),
        "NTK: exponent of the su_mixed form must be between 0 (PI) and 1 (su_fixed), got ",
        exponent, ".");
  }

 private:
  /// exp(a (i+1)^c); a share of 1 at the last pair, so that Lambda there is alpha.
  [[nodiscard]] Frequencies rescale_factors(Index pairs, double c) const {
    const double all = static_cast<double>(pairs);
    return pair_indices(pairs).unaryExpr(
        [&](double i) { return std::pow(alpha, std::pow((i + 1) / all, c)); });
  }
};

POSENC_NAMESPACE_END
