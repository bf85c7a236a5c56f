// SPDX-License-Identifier: MIT
//
// DynamicNTK: NTK whose scale follows the current length T.
//
//   emozilla, 2023; YaRN, arXiv 2309.00071, section 3.3. Hugging Face: rope_type "dynamic", key
//   `factor`, with original_context = max_position_embeddings. Qwen-1: `use_dynamic_ntk`. CLEX,
//   arXiv 2310.16450.
//
// NTK{.alpha = m} with, for t = max(T, L) / L and L = original_context,
//
//   huggingface   m = factor * t - (factor - 1)
//   paper         m = t
//   qwen          m = 2^ceil(log2(t) + 1) - 1         1, 3, 7, ...: it jumps to 3 just beyond L
//   clex          m = 2 * min(ceil(t), factor) - 1    the base term only, not the learned flow
//
// Up to L nothing changes in any form. `huggingface` with factor 1 is `paper`; at T = factor * L
// its m is factor^2 - factor + 1, not factor. Keep the exponent d/(d-2) apart from m: what
// write-ups call alpha = max(1, T/L) is m. Without the clamp to L the bracket turns negative for
// short inputs and its power is NaN.
//
// Frequencies change as the sequence grows, so cached keys must be raw. Hugging Face's class keeps
// a greatest length seen and does not shrink until T < L; here the same length always gives the
// same frequencies. A length that is not known yet (0) counts as L.
#pragma once

#include <posenc/frequency/ntk.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

enum class DynamicNTKForm { huggingface, paper, qwen, clex };

struct DynamicNTK {
  static constexpr bool depends_on_length = true;

  double factor = 1;              ///< huggingface: slope; clex: greatest t; otherwise unused
  Position original_context = 0;  ///< L, trained length
  DynamicNTKForm form = DynamicNTKForm::huggingface;

  /// m of the formulas above; 1 up to the original context.
  [[nodiscard]] double scale(Position length) const {
    const double t = static_cast<double>(std::max(length, original_context)) /
                     static_cast<double>(original_context);
    switch (form) {
      case DynamicNTKForm::paper:
        return t;
      case DynamicNTKForm::qwen:
        return std::exp2(std::ceil(std::log2(t) + 1)) - 1;
      case DynamicNTKForm::clex:
        return 2 * std::min(std::ceil(t), factor) - 1;
      case DynamicNTKForm::huggingface:
        break;
    }
    return factor * t - (factor - 1);
  }

  void transform(RotaryState& state) const {
    if (state.length > original_context) NTK{.alpha = scale(state.length)}.transform(state);
  }

  void check(Problems& problems, const RotaryState& state) const {
    problems.require(std::isfinite(factor) && factor >= 1,
                     "DynamicNTK: factor must be at least 1, got ", factor, ".");
    problems.require(original_context > 0,
                     "DynamicNTK: original_context, the trained length, must be positive, got ",
                     original_context, ".");
    problems.require(state.length >= 0, "DynamicNTK: the current length must not be negative, got ",
                     state.length, ".");
  }
};

POSENC_NAMESPACE_END
