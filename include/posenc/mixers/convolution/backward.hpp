// SPDX-License-Identifier: MIT
//
// The gradient of a long convolution (long_convolution.hpp). From d_out:
//
//   d_u[t][c] = sum over k of h[c][k] d_out[t + k][c]        d_h[c][k] = sum over t of d_out[t][c] u[t - k][c]
//
// The first is the convolution itself, of the tokens from the last to the first; the second is one of u with d_out from the
// last to the first in place of the filter (taps_worker.hpp). Both go by the forms and the lengths of the forward call, two
// transforms a block, and the inverse of the second is one for all blocks. A skip D u is h[0] + D, so its gradient is that
// of tap 0.
//
// Errors: d_u is off by its rounding to float and at most error_bound() ||h||_1 ||d_out||_2; d_h, before it is added, by at
// most error_bound() times the sum over blocks of ||u||_2 ||d_out||_2, with the inputs and the outputs of the block. A
// channel that meets what is not finite is NaN where it was read: in d_u up to that token, in d_h up to the last tap that
// could read it. Results are the same bits for any number of threads.
#pragma once

#include <posenc/mixers/convolution/long_convolution.hpp>

#include <span>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// Where the gradients of a convolution go.
struct ConvolutionGradients {
  TensorView<float> in{};       ///< as the input, overwritten; null: not wanted
  std::span<double> filters{};  ///< [channels][taps], which backward() adds to; empty: not wanted
};

/// The gradients of convolve(in, out, of): d_out is of the last d_out.tokens() tokens of `in`. Of several sequences each is
/// a call, and filters are summed in the order of the calls. Allocates nothing when it is given scratch that has served
/// such a call before. Throws Error for shapes that do not fit together, with every problem at once.
void backward(const Operand& in, const Operand& d_out, const ConvolutionGradients& to,
              const LongConvolution& of, const ConvolutionOptions& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/backward_definitions.hpp>
#endif
