// SPDX-License-Identifier: MIT
//
// A group of channels of a long convolution, by transforms or directly; see long_convolution.hpp.
#pragma once

#include <posenc/executor/tasks.hpp>
#include <posenc/mixers/convolution/plan.hpp>

#include <algorithm>
#include <array>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Transforms in U, one thread at a time.
template <class U>
class TransformWorker {
 public:
  /// Room for transforms of a length, and for inputs of each channel of a group.
  void prepare(Index length, Index group_inputs) {
    fft_.prepare(length);
    grow(x_, length), grow(spectrum_, length + 2), grow(filter_, length + 2);
    row_ = group_inputs + 16;  // rows of a power of two would fall on the same lines of a cache
    grow(window_, group_inputs > 0 ? group_channels * row_ : 0);
  }

  void transform_filter(const mixers::LongConvolution& by, Index channel, Index taps, Index length,
                        U* spectrum) {
    const double* const row = by.rows(channel / group_channels) + channel % group_channels;
    for (Index k = 0; k < taps; ++k) x_[at(k)] = static_cast<U>(row[k * group_channels]);
    std::fill(x_.begin() + taps, x_.begin() + length, U{0});
    fft_.forward(length, x_.data(), spectrum);
    for (Index i = 0; i < length + 2; ++i) spectrum[i] /= static_cast<U>(length);
  }

  void run(const ConvolutionCall& call, Index number) {
    const Group group(number, call.by.channels());
    const ConvolutionPlan& plan = call.plan;
    NotFinite not_finite;
    for (Index start = plan.first; start < plan.tokens; start += plan.step) {
      const Index from = std::max<Index>(0, start - plan.taps + 1),
                  last = std::min(plan.tokens, start + plan.step),
                  zeros = from - (start - plan.taps + 1);
      std::array<float, group_channels> row;
      for (Index t = from; t < last; ++t) {
        if (!group.load(call.in, t, row.data())) not_finite.note(t, group.count, row.data());
        for (Index c = 0; c < group.count; ++c) window_[at(c * row_ + t - from)] = row[at(c)];
      }
      for (Index c = 0; c < group.count; ++c)
        convolve(call, group.first + c, zeros, last - from, last - start, &window_[at(c * row_)]);
      for (Index t = start; t < last; ++t) {
        for (Index c = 0; c < group.count; ++c) row[at(c)] = window_[at(c * row_ + t - start)];
        not_finite.spoil(t, group.count, row.data());
        group.store(call.out, t - plan.first, row.data());
      }
    }
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  template <class T>
  static void grow(std::vector<T>& buffer, Index n) {
    if (std::ssize(buffer) < n) buffer.resize(at(n));
  }

  /// A block of one channel: its inputs after some zeros, then outputs in their place.
  void convolve(const ConvolutionCall& call, Index channel, Index zeros, Index inputs,
                Index outputs, float* window) {
    const Index n = call.plan.length;
    std::fill_n(x_.begin(), zeros, U{0});
    std::copy_n(window, inputs, x_.begin() + zeros);
    std::fill(x_.begin() + zeros + inputs, x_.begin() + n, U{0});
    fft_.forward(n, x_.data(), spectrum_.data());
    const U* h = filter_.data();
    if (call.plan.keeps)
      h = call.by.template spectrum<U>(channel);
    else
      transform_filter(call.by, channel, call.plan.taps, n, filter_.data());
    for (Index i = 0; i < n + 2; i += 2) {
      const U re = spectrum_[at(i)], im = spectrum_[at(i + 1)];
      spectrum_[at(i)] = re * h[i] - im * h[i + 1];
      spectrum_[at(i + 1)] = re * h[i + 1] + im * h[i];
    }
    fft_.inverse(n, spectrum_.data(), x_.data());
    const auto result = x_.begin() + call.plan.taps - 1;
    std::transform(result, result + outputs, window, [](U y) { return static_cast<float>(y); });
  }

  RealFFT<U> fft_;
  std::vector<U> x_, spectrum_, filter_;
  std::vector<float> window_;
  Index row_ = 0;
};

/// The sum as it stands.
class DirectWorker {
 public:
  void prepare(const ConvolutionPlan& plan) {
    const Index rows = plan.tokens - plan.reads_from() + convolution_leaves().zero_rows;
    const auto numbers = static_cast<std::size_t>(rows * group_channels);
    if (u_.size() < numbers) u_.resize(numbers);
  }

  void run(const ConvolutionCall& call, Index number) {
    const ConvolutionLeaves& leaves = convolution_leaves();
    const Group group(number, call.by.channels());
    const ConvolutionPlan& plan = call.plan;
    const Index from = plan.reads_from();
    std::array<float, group_channels> row{};
    NotFinite not_finite;
    double* const u = u_.data() + leaves.zero_rows * group_channels;
    std::fill(u_.data(), u, 0.0);
    for (Index t = from; t < plan.tokens; ++t) {
      if (!group.load(call.in, t, row.data())) not_finite.note(t, group.count, row.data());
      std::copy(row.begin(), row.end(), u + (t - from) * group_channels);
    }
    constexpr Index some = 48;  // a multiple of the rows of every tile
    std::array<double, some * group_channels> y;
    for (Index t = plan.first; t < plan.tokens; t += some) {
      const Index rows = std::min(some, plan.tokens - t);
      leaves.direct(rows, std::min(plan.tokens, call.by.taps()), t - from,
                    u + (t - from) * group_channels, call.by.rows(number), y.data());
      for (Index i = 0; i < rows; ++i) {
        std::copy_n(y.begin() + i * group_channels, group_channels, row.begin());
        not_finite.spoil(t + i, group.count, row.data());
        group.store(call.out, t + i - plan.first, row.data());
      }
    }
  }

 private:
  std::vector<double> u_;
};

struct ConvolutionWorkers {
  std::vector<TransformWorker<double>> in_double;
  std::vector<TransformWorker<float>> in_float;
  std::vector<DirectWorker> direct;
  std::vector<float> rows;  ///< of whoever calls convolve() in turn

  void run(const ConvolutionCall& call, const AnyExecutor& executor) {
    const ConvolutionPlan& plan = call.plan;
    if (plan.direct)
      return run_with(direct, call, executor, [&](auto& worker) { worker.prepare(plan); });
    const Index inputs = std::min(plan.length, plan.tokens);
    const auto prepare = [&](auto& worker) { worker.prepare(plan.length, inputs); };
    call.by.in_float() ? run_with(in_float, call, executor, prepare)
                       : run_with(in_double, call, executor, prepare);
  }

 private:
  template <class Worker, class Prepare>
  static void run_with(std::vector<Worker>& all, const ConvolutionCall& call,
                       const AnyExecutor& executor, const Prepare& prepare) {
    const Index groups = Group::groups(call.by.channels()),
                workers = std::min(groups, executor.concurrency());
    if (std::ssize(all) < workers) all.resize(static_cast<std::size_t>(workers));
    for (Index w = 0; w < workers; ++w) prepare(all[static_cast<std::size_t>(w)]);
    run_tasks(executor, workers, groups, [&](Index w) {
      return [&, w](Index group) { all[static_cast<std::size_t>(w)].run(call, group); };
    });
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
