// SPDX-License-Identifier: MIT
//
// The gradient of the filters of a group of channels, by transforms or directly; see backward.hpp.
//
// With r[j] = d_out[T - 1 - j], the outputs' gradient from the last token to the first, that of tap k is
//
//   sum over t of d_out[t] u[t - k] = sum over j of r[j] u[T - 1 - k - j]
//
// which is what a convolution of u with the filter r has at token T - 1 - k.
#pragma once

#include <posenc/mixers/convolution/worker.hpp>

#include <limits>
#include <span>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A call for the gradient of filters.
struct TapsCall {
  Rows<float> in, reversed_d_out;
  const mixers::LongConvolution& by;
  ConvolutionPlan plan;
  std::span<double> sums;  ///< [channels][taps]

  [[nodiscard]] Index taps() const { return std::min(plan.tokens, by.taps()); }  ///< that read any
  void add(const Group& group, const NotFinite& not_finite, Index c, Index k, double value) const {
    sums[static_cast<std::size_t>((group.first + c) * by.taps() + k)] +=
        not_finite.reaches(plan.tokens - 1 - k, c) ? std::numeric_limits<double>::quiet_NaN()
                                                   : value;
  }
};

/// Transforms in U, one thread at a time. Blocks are added as transforms, so there is one inverse for all of them.
template <class U>
class TransformTapsWorker {
 public:
  void prepare(const ConvolutionPlan& plan) {
    const Index row = plan.length + 2;
    transforms_.prepare(plan.length);
    grow(of_in_, row), grow(of_d_out_, row), grow(sums_, group_channels * row);
    in_.prepare(std::min(plan.length, plan.tokens));
    d_out_.prepare(std::min(plan.step, plan.tokens));
  }

  void run(const TapsCall& call, Index number) {
    const Group group(number, call.by.channels());
    const ConvolutionPlan& plan = call.plan;
    const Index n = plan.length, row = n + 2;
    NotFinite not_finite;
    std::fill_n(sums_.begin(), group.count * row, U{0});
    plan.for_blocks([&](const ConvolutionPlan::Block& block) {
      in_.load(group, call.in, block.from, block.last, not_finite);
      d_out_.load(group, call.reversed_d_out, plan.tokens - block.last, plan.tokens - block.start,
                  not_finite);
      for (Index c = 0; c < group.count; ++c) {
        transforms_.forward(n, block.zeros, block.inputs(), in_.of(c), 1, of_in_.data());
        // Zeros in front make the last block as long as the others: its tap k is at n - 1 - k, too.
        transforms_.forward(n, plan.step - block.outputs(), block.outputs(), d_out_.of(c), 1,
                            of_d_out_.data());
        add_product(n, sums_.data() + c * row);
      }
    });
    for (Index c = 0; c < group.count; ++c) {
      const U* const last = transforms_.inverse(n, sums_.data() + c * row) + n - 1;
      for (Index k = 0; k < call.taps(); ++k)
        call.add(group, not_finite, c, k, static_cast<double>(last[-k]) / static_cast<double>(n));
    }
  }

 private:
  void add_product(Index n, U* sums) const {
    const U *const a = of_in_.data(), *const b = of_d_out_.data();
    for (Index i = 0; i < n + 2; i += 2) {
      sums[i] += a[i] * b[i] - a[i + 1] * b[i + 1];
      sums[i + 1] += a[i] * b[i + 1] + a[i + 1] * b[i];
    }
  }

  PaddedTransforms<U> transforms_;
  std::vector<U> of_in_, of_d_out_, sums_;
  ChannelRows in_, d_out_;
};

/// The sum as it stands.
class DirectTapsWorker {
 public:
  void prepare(const ConvolutionPlan& plan) {
    in_.prepare(plan.tokens - plan.reads_from());
    d_out_.prepare(plan.tokens - plan.first);
  }

  void run(const TapsCall& call, Index number) {
    const Group group(number, call.by.channels());
    const ConvolutionPlan& plan = call.plan;
    const Index from = plan.reads_from(), outputs = plan.tokens - plan.first;
    NotFinite not_finite;
    const double* const u = in_.load(group, call.in, from, plan.tokens, not_finite);
    const double* const r = d_out_.load(group, call.reversed_d_out, 0, outputs, not_finite);
    DirectWorker::for_direct_rows(plan.tokens - call.taps(), plan.tokens, outputs, from, u, r,
                                  [&](Index t, const double* y) {
                                    for (Index c = 0; c < group.count; ++c)
                                      call.add(group, not_finite, c, plan.tokens - 1 - t, y[c]);
                                  });
  }

 private:
  TokenRows in_, d_out_;
};

}  // namespace detail

POSENC_NAMESPACE_END
