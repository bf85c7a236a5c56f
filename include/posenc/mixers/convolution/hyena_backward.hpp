// SPDX-License-Identifier: MIT
//
// The gradient of Hyena's operator (hyena.hpp). The gates and the outputs of the filters are computed again; then, with
// p_i = v_i x_i what gate i gives and v_i what comes to it, from d = d_out at gate 0 on:
//
//   d_x_i = d v_i        d_v_i = d x_i        and where v_i = h * p_{i + 1}:  d of gate i + 1 by the convolution's gradient
//
// which adds that of h, too. Last the short filters: d_in[t] = sum over j of w[2 - j] d_u[t + j]. Gates are in float, sums
// over tokens in double.
#pragma once

#include <posenc/mixers/convolution/backward.hpp>
#include <posenc/mixers/convolution/hyena.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// The gradients of what an operator has learned, which backward() adds to. When all sequences have added to those of the
/// taps, backward() of hyena_filter_backward.hpp makes those of the network of them.
struct HyenaGradients {
  explicit HyenaGradients(const HyenaOperator& by)
      : short_weight(by.parameters().short_weight.size()),
        short_bias(by.parameters().short_bias.size()),
        filters(static_cast<std::size_t>(by.parameters().filter.channels * by.l_max())) {}

  std::vector<double> short_weight, short_bias;  ///< as the parameters
  std::vector<double> filters;                   ///< [(order - 1) d_model][l_max]
};

/// Where gradients go.
struct HyenaTensorGradients {
  TensorView<float> in;               ///< as the input, overwritten
  HyenaGradients* learned = nullptr;  ///< of the same operator; null: not wanted
};

/// The gradients of hyena(in, out, by, state) for a whole sequence: the state is empty before it, and the loss does not
/// depend on what it keeps. Of several sequences each is a call. Scratch keeps 3 order + 1 floats for each token and channel,
/// besides what the convolutions need; with scratch that has served such a call before, nothing is allocated. Results are the
/// same bits for any number of threads.
/// Throws Error for shapes that do not fit together and for more than l_max tokens, with every problem at once.
void backward(const Operand& in, const Operand& d_out, const HyenaTensorGradients& to,
              const HyenaOperator& by, const ConvolutionOptions& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/hyena_backward_definitions.hpp>
#endif
