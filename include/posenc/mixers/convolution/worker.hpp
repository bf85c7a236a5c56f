// SPDX-License-Identifier: MIT
//
// A group of channels of a long convolution, by transforms or directly; see long_convolution.hpp.
#pragma once

#include <posenc/mixers/convolution/windows.hpp>

#include <algorithm>
#include <array>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Transforms in U, one thread at a time.
template <class U>
class TransformWorker {
 public:
  /// Room for the transforms of filters.
  void prepare(Index length) {
    transforms_.prepare(length);
    grow(spectrum_, length + 2), grow(filter_, length + 2);
  }
  void prepare(const ConvolutionPlan& plan) {
    prepare(plan.length);
    windows_.prepare(std::min(plan.length, plan.tokens));
  }

  void transform_filter(const mixers::LongConvolution& by, Index channel, Index taps, Index length,
                        U* spectrum) {
    transforms_.forward(length, 0, taps,
                        by.rows(channel / group_channels) + channel % group_channels,
                        group_channels, spectrum);
    for (Index i = 0; i < length + 2; ++i) spectrum[i] /= static_cast<U>(length);
  }

  void run(const ConvolutionCall& call, Index number) {
    const Group group(number, call.by.channels());
    NotFinite not_finite;
    call.plan.for_blocks([&](const ConvolutionPlan::Block& block) {
      windows_.load(group, call.in, block.from, block.last, not_finite);
      for (Index c = 0; c < group.count; ++c)
        convolve(call, group.first + c, block, windows_.of(c));
      std::array<float, group_channels> row;
      for (Index t = block.start; t < block.last; ++t) {
        for (Index c = 0; c < group.count; ++c)
          row[static_cast<std::size_t>(c)] = windows_.of(c)[t - block.start];
        not_finite.spoil(t, group.count, row.data());
        group.store(call.out, t - call.plan.first, row.data());
      }
    });
  }

 private:
  /// A block of one channel: outputs in the place of its inputs.
  void convolve(const ConvolutionCall& call, Index channel, const ConvolutionPlan::Block& block,
                float* window) {
    const Index n = call.plan.length;
    transforms_.forward(n, block.zeros, block.inputs(), window, 1, spectrum_.data());
    const U* h = filter_.data();
    if (call.plan.keeps)
      h = call.by.template spectrum<U>(channel);
    else
      transform_filter(call.by, channel, call.plan.taps, n, filter_.data());
    for (Index i = 0; i < n + 2; i += 2) {
      U* const at = spectrum_.data() + i;
      const U re = at[0], im = at[1];
      at[0] = re * h[i] - im * h[i + 1];
      at[1] = re * h[i + 1] + im * h[i];
    }
    const U* const result = transforms_.inverse(n, spectrum_.data()) + call.plan.taps - 1;
    std::transform(result, result + block.outputs(), window,
                   [](U y) { return static_cast<float>(y); });
  }

  PaddedTransforms<U> transforms_;
  std::vector<U> spectrum_, filter_;
  ChannelRows windows_;
};

/// The sum as it stands.
class DirectWorker {
 public:
  void prepare(const ConvolutionPlan& plan) { u_.prepare(plan.tokens - plan.reads_from()); }

  void run(const ConvolutionCall& call, Index number) {
    const Group group(number, call.by.channels());
    const ConvolutionPlan& plan = call.plan;
    const Index from = plan.reads_from();
    NotFinite not_finite;
    const double* const u = u_.load(group, call.in, from, plan.tokens, not_finite);
    std::array<float, group_channels> row;
    for_direct_rows(plan.first, plan.tokens, std::min(plan.tokens, call.by.taps()), from, u,
                    call.by.rows(number), [&](Index t, const double* y) {
                      std::copy_n(y, group_channels, row.begin());
                      not_finite.spoil(t, group.count, row.data());
                      group.store(call.out, t - plan.first, row.data());
                    });
  }

  /// Calls f(t, y) with the sums y[c] of h[k][c] u[t - k][c] for tokens [first, last); u begins with token `from`.
  template <class F>
  static void for_direct_rows(Index first, Index last, Index taps, Index from, const double* u,
                              const double* h, const F& f) {
    constexpr Index some = 48;  // a multiple of the rows of every tile
    std::array<double, some * group_channels> y;
    for (Index t = first; t < last; t += some) {
      const Index rows = std::min(some, last - t);
      convolution_leaves().direct(rows, taps, t - from, u + (t - from) * group_channels, h,
                                  y.data());
      for (Index i = 0; i < rows; ++i) f(t + i, y.data() + i * group_channels);
    }
  }

 private:
  TokenRows u_;
};

}  // namespace detail

POSENC_NAMESPACE_END
