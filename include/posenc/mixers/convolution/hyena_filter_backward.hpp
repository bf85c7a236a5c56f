// SPDX-License-Identifier: MIT
//
// The gradient of Hyena's filters (hyena_filter.hpp): from d_h of the taps through the window and the network. With s what
// enters the sines of a layer and g the gradient of what comes out of them,
//
//   d_freq += sum over taps of g cos(freq s) s        d_s = freq g cos(freq s)        d_W += d_s a^T        d_b += d_s
//
// The bias is added to h[0]. The window and the features have no parameters that are learned; the code makes its positions
// and decays parameters, with learning rates of 1e-5 and 0. In double.
#pragma once

#include <posenc/mixers/convolution/hyena_filter.hpp>

#include <span>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// The gradients of what a filter has learned, which backward() adds to; each as the parameter of its name.
struct HyenaFilterGradients {
  explicit HyenaFilterGradients(const HyenaFilter& of)
      : in_weight(of.in_weight.size()), in_bias(of.in_bias.size()),
        inner_weight(of.inner_weight.size()), inner_bias(of.inner_bias.size()),
        freq(of.freq.size()), out_weight(of.out_weight.size()), bias(of.bias.size()) {}

  std::vector<double> in_weight, in_bias, inner_weight, inner_bias, freq, out_weight, bias;
};

/// From the gradient of the taps, [channels][taps] with at most l_max taps. Throws Error for parameters that check() refuses
/// and for sizes that are not those of the filters and of the parameters.
void backward(std::span<const double> d_filters, HyenaFilterGradients& to, const HyenaFilter& of);

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/hyena_filter_backward_definitions.hpp>
#endif
