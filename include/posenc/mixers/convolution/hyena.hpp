// SPDX-License-Identifier: MIT
//
// Hyena: gates and implicit long filters, between the projections of a layer.
//
//   u   = short_filter(in)          depthwise, causal, of width 3, on each of the order + 1 projections
//   x_0, ..., x_{M-1}, v = u        M is the order
//   v   = h_i * (v x_i) + b_i (v x_i)        for i = M - 1 down to 1, with the filter M - 1 - i
//   out = v x_0
//
// Poli et al., Hyena Hierarchy, arXiv 2302.10866, definition 3.1 and section 3.3; HazyResearch/safari,
// standalone_hyena.py: HyenaOperator, without in_proj and out_proj, which are the caller's. Filters come from a network
// of the position (hyena_filter.hpp).
//
// Every gated input is read again by all later tokens, so a sequence keeps (M - 1) d_model floats a token, and there is
// no state of constant size. The code truncates sequences to l_max; here longer ones are errors.
#pragma once

#include <posenc/mixers/convolution/hyena_filter.hpp>
#include <posenc/mixers/convolution/long_convolution.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// The parameters of a layer.
struct Hyena {
  static constexpr std::string_view name = "Hyena";

  Index d_model = 0;
  Index order = 2;
  std::vector<float>
      short_weight{};  ///< [order + 1][d_model][3], the last of them for the token itself
  std::vector<float> short_bias{};  ///< [order + 1][d_model]
  HyenaFilter filter{};             ///< of (order - 1) d_model channels

  /// As the code's layer begins, with PyTorch's defaults for the short filter.
  [[nodiscard]] static Hyena initial(Index d_model, Index l_max, std::uint64_t seed,
                                     Index order = 2, Index filter_order = 64, Index emb_dim = 3);

  void check(Problems& problems) const;
};

/// A layer that has been checked, with the transforms of its filters.
class HyenaOperator {
 public:
  /// Throws Error with every sentence when parameters are wrong.
  explicit HyenaOperator(const Hyena& of, const FilterOptions& options = {});

  [[nodiscard]] Index d_model() const { return of_.d_model; }
  [[nodiscard]] Index order() const { return of_.order; }
  [[nodiscard]] Index l_max() const { return of_.filter.l_max; }
  [[nodiscard]] const Hyena& parameters() const { return of_; }
  /// Filter 0 is the first to be applied, with x_{order - 1}.
  [[nodiscard]] const LongConvolution& filter(Index i) const {
    return filters_[static_cast<std::size_t>(i)];
  }

 private:
  Hyena of_;
  std::vector<LongConvolution> filters_;
};

/// What a sequence keeps: the gated inputs of its tokens for each filter, and the last two tokens as they came.
class HyenaState {
 public:
  /// Of an empty sequence, with memory for `capacity` tokens; 0: for l_max.
  /// Throws Error for a capacity that is negative or beyond l_max.
  explicit HyenaState(const HyenaOperator& of, Index capacity = 0);

  [[nodiscard]] Index tokens() const { return tokens_; }
  [[nodiscard]] Index capacity() const { return capacity_; }
  [[nodiscard]] Index d_model() const { return d_model_; }
  [[nodiscard]] Index order() const { return order_; }
  [[nodiscard]] std::size_t bytes() const {
    return (kept_.size() + recent_.size()) * sizeof(float);
  }
  void clear();

  /// For the operators: gated inputs [capacity][d_model] of a filter, and the last two tokens [2][order + 1][d_model].
  [[nodiscard]] float* kept(Index filter) { return kept_.data() + filter * capacity_ * d_model_; }
  [[nodiscard]] std::vector<float>& recent() { return recent_; }
  void set_tokens(Index tokens) { tokens_ = tokens; }

 private:
  Index d_model_, order_, capacity_, tokens_ = 0;
  std::vector<float> kept_, recent_;
};

/// The next tokens of one sequence, any number of them: `in` [tokens, order + 1, d_model] with heads x_0, ...,
/// x_{order - 1}, v, and `out` [tokens, 1, d_model]. One token sums over all before it; many go by transforms, and a
/// prompt in pieces is transformed from its beginning for each of them. Gates are in float. Allocates nothing but what
/// convolve() does, when it is given scratch that has served such a call before.
/// Throws Error for shapes that do not fit together and for tokens beyond the state's capacity.
void hyena(const Operand& in, const Result& out, const HyenaOperator& by, HyenaState& state,
           const ConvolutionOptions& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/hyena_definitions.hpp>
#endif
