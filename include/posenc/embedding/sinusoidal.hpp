// SPDX-License-Identifier: MIT
//
// Sinusoidal: absolute positions as sines and cosines, added to the token embeddings.
//
//   Vaswani et al., arXiv 1706.03762, section 3.5.
//
//   p[n, sine i] = scale * sin((n + offset) w_i),  p[n, cosine i] = scale * cos((n + offset) w_i)
//   w_i = base^(-i / (width/2 - shift)),  i = 0 .. width/2 - 1
//
// Programs agree on little more than that; the forms in use:
//
//   the paper                   shift 0, interleaved: sine i at 2i, cosine i at 2i + 1
//   tensor2tensor, fairseq,     shift 1, sin_cos: all sines, then all cosines; the last frequency
//   Whisper, Gemma              is exactly 1/base
//   diffusion models            cos_sin: all cosines, then all sines ("flip_sin_to_cos")
//
// fairseq begins at offset padding_idx + 1; x-transformers learns the scale, from width^(-1/2). An
// odd width ends in one column of zeros, as in tensor2tensor.
//
// Errata. Position and token vectors are added, not concatenated. Slower pairs have longer periods.
// p[n + k] is a linear map of p[n] that depends on k alone, as the paper says.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>

POSENC_NAMESPACE_BEGIN

enum class SinusoidalLayout { interleaved, sin_cos, cos_sin };

struct Sinusoidal {
  Index width = 0;      ///< channels of the model
  double base = 10000;  ///< longest wavelength over 2pi, about
  SinusoidalLayout layout = SinusoidalLayout::interleaved;
  int shift = 0;      ///< 0: the paper; 1: tensor2tensor and its descendants
  double scale = 1;   ///< multiplies every value
  double offset = 0;  ///< added to every position

  [[nodiscard]] constexpr Index embedding_width() const { return width; }

  /// w_i, radians per position. The first is 1, also where it is the only one and shift 1 would
  /// divide by zero.
  [[nodiscard]] double frequency(Index i) const {
    const Index steps = std::max<Index>(width / 2 - shift, 1);
    return std::pow(base, -static_cast<double>(i) / static_cast<double>(steps));
  }

  void embed(double position, std::span<double> out) const {
    for_pairs(position, [&](Index sine, Index cosine, double angle) {
      out[static_cast<std::size_t>(sine)] = scale * std::sin(angle);
      out[static_cast<std::size_t>(cosine)] = scale * std::cos(angle);
    });
    if (width % 2 != 0) out[static_cast<std::size_t>(width - 1)] = 0;
  }

  /// Of the scale.
  [[nodiscard]] Index num_parameters() const { return 1; }
  void embed_gradient(double position, std::span<const double> d,
                      std::span<double> gradient) const {
    for_pairs(position, [&](Index sine, Index cosine, double angle) {
      gradient[0] += d[static_cast<std::size_t>(sine)] * std::sin(angle) +
                     d[static_cast<std::size_t>(cosine)] * std::cos(angle);
    });
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(width > 0, "Sinusoidal: width must be positive, got ", width, ".");
    problems.require(std::isfinite(base) && base > 0,
                     "Sinusoidal: base must be positive and finite, got ", base, ".");
    problems.require(shift == 0 || shift == 1,
                     "Sinusoidal: shift must be 0 (the paper) or 1 (tensor2tensor), got ", shift,
                     ".");
    problems.require(std::isfinite(scale) && std::isfinite(offset),
                     "Sinusoidal: scale and offset must be finite, got ", scale, " and ", offset,
                     ".");
  }

 private:
  /// Calls f(channel of the sine, of the cosine, angle) for every pair.
  template <class F>
  void for_pairs(double position, const F& f) const {
    const Index pairs = width / 2;
    const Index stride = layout == SinusoidalLayout::interleaved ? 2 : 1;
    const Index half = layout == SinusoidalLayout::interleaved ? 1 : pairs;
    const bool cosine_first = layout == SinusoidalLayout::cos_sin;
    for (Index i = 0; i < pairs; ++i)
      f(i * stride + (cosine_first ? half : 0), i * stride + (cosine_first ? 0 : half),
        (position + offset) * frequency(i));
  }
};

POSENC_NAMESPACE_END
