// SPDX-License-Identifier: MIT
//
// LearnedConvolution: the short convolution, with SiLU, that stands before a mixing, as parts of what that learns.
#pragma once

#include <posenc/lab/learned_parts.hpp>
#include <posenc/lab/token_mixing.hpp>
#include <posenc/mixers/short_convolution_backward.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace lab {

class LearnedConvolution {
 public:
  static constexpr Index width = 4;

  /// Begins as PyTorch's convolutions do: uniform within 1 / sqrt(width), by seeds `seed` and `seed` + 1.
  LearnedConvolution(LearnedParts& parts, Index channels, std::uint64_t seed)
      : channels_(channels), weight_(parts.add(uniform(channels * width, most(), seed))),
        bias_(parts.add(uniform(channels, most(), seed + 1))) {}

  [[nodiscard]] mixers::ShortConvolution of(const LearnedParts& parts,
                                            std::span<const double> learned) const {
    return mixers::ShortConvolution({.channels = channels_,
                                     .width = width,
                                     .weight = parts.floats(learned, weight_),
                                     .bias = parts.floats(learned, bias_)});
  }
  static void forward(const mixers::ShortConvolution& of, const MixedRows& rows,
                      TensorView<const float> x, TensorView<float> y, const AnyExecutor& executor) {
    mixers::State before = of.state(rows.sequences);
    mixers::convolve(x, y, RaggedBatch{rows.starts()}, of, before, {.executor = executor});
  }
  void backward(const mixers::ShortConvolution& of, const MixedRows& rows,
                TensorView<const float> x, TensorView<const float> d_y, TensorView<float> d_x,
                LearnedGradient& gradient) const {
    const mixers::State before = of.state(rows.sequences);
    mixers::State d_before = before;
    mixers::ShortConvGradients learned(of);
    mixers::backward(x, d_y, before, d_before, {d_x, &learned}, RaggedBatch{rows.starts()}, of);
    gradient.set(weight_, learned.weight), gradient.set(bias_, learned.bias);
  }

 private:
  static double most() { return 1 / std::sqrt(static_cast<double>(width)); }

  Index channels_, weight_, bias_;
};

}  // namespace lab

POSENC_NAMESPACE_END
