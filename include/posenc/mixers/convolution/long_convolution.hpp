// SPDX-License-Identifier: MIT
//
// LongConvolution: a causal convolution with a filter for each channel, as long as the sequence may be.
//
//   y[t][c] = sum over k of h[c][k] u[t - k][c]
//
// The Fourier transforms of the filters are computed once. A call takes the sequence in blocks (overlap-save): of each
// block two transforms, O(log taps) a token, or the sum as it stands where that is less work, O(taps) a token. Which of
// them follows from the numbers of tokens and taps and the level alone, and channels are computed each for itself, so
// outputs are the same bits for any number of threads. A skip D u is the filter h[0] + D.
//
// Errors: with transforms in double, which is the default, an output is off by its rounding to the output's element and
// by at most error_bound() ||h||_1 ||u||_2, with error_bound() = 11 log2(length) 2^-52: three transforms, of which each
// is off by at most 3.5 eps for each factor 2 of its length (Higham, Accuracy and Stability of Numerical Algorithms,
// theorem 24.2). Where `tolerance` allows eps = 2^-23 they are in float, in half of the memory. The direct form always
// sums in double.
//
// A channel that meets what is not finite is NaN from that token on, also in transforms, which would spread it over all
// tokens. Eigen's unsupported FFT is needed to compile the definitions.
#pragma once

#include <posenc/mixers/convolution/filters.hpp>

#include <memory>
#include <optional>

POSENC_NAMESPACE_BEGIN

namespace detail {
struct ConvolutionWorkers;
}

namespace mixers {

/// Plans of transforms and buffers of calls. It grows when a call first needs more and allocates nothing after that;
/// one call at a time may use it.
class ConvolutionScratch {
 public:
  ConvolutionScratch();
  ConvolutionScratch(ConvolutionScratch&&) noexcept;
  ConvolutionScratch& operator=(ConvolutionScratch&&) noexcept;
  ~ConvolutionScratch();
  [[nodiscard]] posenc::detail::ConvolutionWorkers& workers() { return *workers_; }

 private:
  std::unique_ptr<posenc::detail::ConvolutionWorkers> workers_;
};

struct ConvolutionOptions {
  AnyExecutor executor{};                 ///< over groups of at most 16 channels
  ConvolutionScratch* scratch = nullptr;  ///< null: the call makes one, plans of transforms and all
  ConvolutionForm form = ConvolutionForm::automatic;
};

/// Outputs of the last out.tokens() tokens of `in`; the tokens before them are read as far as filters reach.
/// `in` and `out` are [tokens, heads, width] with heads * width channels, in this order.
/// Throws Error for shapes that do not fit together, with every problem at once.
void convolve(const Operand& in, const Result& out, const LongConvolution& by,
              const ConvolutionOptions& options = {});

/// The form that `automatic` takes for so many outputs of a sequence of so many tokens.
[[nodiscard]] ConvolutionForm convolution_form(const LongConvolution& by, Index tokens,
                                               Index outputs);

}  // namespace mixers

namespace detail {

/// The options of a call, with a scratch of the call's own where they have none.
class OptionsWithScratch {
 public:
  explicit OptionsWithScratch(const mixers::ConvolutionOptions& given) : options_(given) {
    if (!given.scratch) options_.scratch = &own_.emplace();
  }
  OptionsWithScratch(const OptionsWithScratch&) = delete;
  OptionsWithScratch& operator=(const OptionsWithScratch&) = delete;

  [[nodiscard]] const mixers::ConvolutionOptions& options() const { return options_; }
  [[nodiscard]] ConvolutionWorkers& workers() const { return options_.scratch->workers(); }

 private:
  std::optional<mixers::ConvolutionScratch> own_;
  mixers::ConvolutionOptions options_;
};

}  // namespace detail

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/long_convolution_definitions.hpp>
#endif
