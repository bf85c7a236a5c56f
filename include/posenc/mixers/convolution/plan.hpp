// SPDX-License-Identifier: MIT
//
// How a call of a long convolution goes about a sequence; see long_convolution.hpp.
#pragma once

#include <posenc/mixers/convolution/columns.hpp>
#include <posenc/mixers/convolution/fft.hpp>
#include <posenc/mixers/convolution/filters.hpp>
#include <posenc/mixers/convolution/leaves.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// How a call goes about a sequence.
struct ConvolutionPlan {
  Index tokens, first;  ///< of the sequence, and that of the first output
  Index taps,
      length;      ///< that a block transforms: those of the filters, or fewer in a short sequence
  Index step = 0;  ///< outputs of a block
  bool keeps;      ///< the transforms that were made with the filters serve
  bool direct = false;

  ConvolutionPlan(const mixers::LongConvolution& by, Index tokens_, Index outputs,
                  mixers::ConvolutionForm form = mixers::ConvolutionForm::automatic)
      : tokens(tokens_), first(tokens_ - outputs), taps(std::min(tokens_, by.taps())),
        length(transform_length(2 * taps - 1)), keeps(3 * length > 2 * by.length()) {
    if (keeps) taps = by.taps(), length = by.length();
    step = length - taps + 1;
    direct = form == mixers::ConvolutionForm::automatic ? prefers_direct(by, outputs)
                                                        : form == mixers::ConvolutionForm::direct;
  }
  [[nodiscard]] mixers::ConvolutionForm form() const {
    return direct ? mixers::ConvolutionForm::direct : mixers::ConvolutionForm::transforms;
  }
  /// The first token that a call reads.
  [[nodiscard]] Index reads_from() const { return std::max<Index>(0, first - taps + 1); }

  /// Outputs [start, last), and the inputs [from, last) that they read, with zeros before the first token.
  struct Block {
    Index start, last, from, zeros;
    [[nodiscard]] Index inputs() const { return last - from; }
    [[nodiscard]] Index outputs() const { return last - start; }
  };
  template <class F>
  void for_blocks(const F& f) const {
    for (Index start = first; start < tokens; start += step) {
      const Index reach = start - taps + 1, from = std::max<Index>(0, reach);
      f(Block{start, std::min(tokens, start + step), from, from - reach});
    }
  }

 private:
  /// Products of the direct form against those of transforms, by what either takes on the machine of docs/mixers.md.
  [[nodiscard]] bool prefers_direct(const mixers::LongConvolution& by, Index outputs) const {
    const auto count = [](Index n) { return static_cast<double>(n); };
    const Index growing =
        std::clamp<Index>(by.taps() - first, 0, outputs);  // outputs of fewer taps
    const double products = count(growing) * (count(first) + (count(growing) + 1) / 2) +
                            count(outputs - growing) * count(std::min(by.taps(), tokens));
    const Index blocks = (outputs + step - 1) / step;
    const double transforms = (keeps ? 2.0 : 3.0) * count(blocks) * count(length) *
                              std::log2(count(length)) * 1.9 * count(convolution_leaves().lanes);
    return products < transforms;
  }
};

struct ConvolutionCall {
  Rows<float> in;
  OutRows<float> out;
  const mixers::LongConvolution& by;
  ConvolutionPlan plan;
};

/// Which channels of a group are NaN from which token on.
struct NotFinite {
  std::array<Index, group_channels> from;

  NotFinite() { from.fill(std::numeric_limits<Index>::max()); }
  /// Notes what is not finite among the numbers of a token, and takes it for 0.
  void note(Index token, Index count, float* row) {
    for (Index c = 0; c < count; ++c)
      if (!std::isfinite(row[c])) {
        row[c] = 0;
        from[static_cast<std::size_t>(c)] = std::min(from[static_cast<std::size_t>(c)], token);
      }
  }
  [[nodiscard]] bool reaches(Index token, Index c) const {
    return token >= from[static_cast<std::size_t>(c)];
  }
  void spoil(Index token, Index count, float* row) const {
    for (Index c = 0; c < count; ++c)
      if (reaches(token, c)) row[c] = std::numeric_limits<float>::quiet_NaN();
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
