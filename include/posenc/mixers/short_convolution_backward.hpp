// SPDX-License-Identifier: MIT
//
// The gradient of a short convolution (short_convolution.hpp). From d_out, with z_t the sum that f is taken of and
// g_t = d_out_t f'(z_t), which is 0 beyond the last token:
//
//   dx_t = sum over i < width of weight[i] g_{t + width - 1 - i}
//   dweight[i] = sum over t of g_t x_{t - width + 1 + i}                dbias = sum over t of g_t
//   silu'(z) = s + silu(z) (1 - s),  s = 1 / (1 + exp(-z))
//
// Inputs before the first token are those of the state, so the first of these sums gives their gradients as well. The
// sums z are computed again, so outputs are not needed.
#pragma once

#include <posenc/mixers/short_convolution.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// The gradients of what a ShortConv has learned, which backward() adds to.
struct ShortConvGradients {
  explicit ShortConvGradients(const ShortConvolution& of)
      : weight(static_cast<std::size_t>(of.channels() * of.width())),
        bias(static_cast<std::size_t>(of.channels())) {}

  std::vector<double> weight;  ///< [channels][width]
  std::vector<double> bias;    ///< [channels], also where there is none
};

/// Where gradients go.
struct ConvolveGradients {
  TensorView<float> x;                    ///< as the input, overwritten; may be d_out
  ShortConvGradients* learned = nullptr;  ///< of the same convolution; null: not wanted
};

/// The gradients of convolve(x, out, batch, of, state) from the state `before`. `d_state` comes as the gradient of the
/// state behind the last token, zeros where the loss does not depend on it, and becomes that of the state before the
/// first: of a sequence that comes in pieces the last goes first. Slots of the options are those of both states.
/// Threads share the channels, of which each adds up its sequences in their order: the same bits for any number of
/// threads. Of the options `executor` and `slots` count: it needs no workspace. Throws Error for shapes that do not fit
/// together, with every problem at once.
void backward(const Operand& x, const Operand& d_out, const State& before, State& d_state,
              const ConvolveGradients& to, const RaggedBatch& batch, const ShortConvolution& of,
              const Options& options = {});
/// Of one sequence.
void backward(const Operand& x, const Operand& d_out, const State& before, State& d_state,
              const ConvolveGradients& to, const ShortConvolution& of, const Options& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/backward/short_convolution_definitions.hpp>
#endif
