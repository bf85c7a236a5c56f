// SPDX-License-Identifier: MIT
//
// How long convolutions are made and called; see long_convolution.hpp.
#pragma once

#include <posenc/executor/chunks.hpp>
#include <posenc/executor/tasks.hpp>
#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/convolution/long_convolution.hpp>
#include <posenc/mixers/convolution/workers.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The channels of a call are those of its filters.
inline void check_channels(Problems& problems, const mixers::Operand& in,
                           const mixers::LongConvolution& by) {
  problems.require(in.heads() * in.width() == by.channels(), "in has ", in.heads(), " heads of ",
                   in.width(), " channels, but the filters are of ", by.channels(), " channels.");
}

}  // namespace detail

namespace mixers {

namespace convolution {

/// Fills the spectra of some filters, divided by the length.
template <class U>
void transform_filters(const LongConvolution& by, const FilterOptions& options) {
  const Index n = by.length(), workers = std::min(by.channels(), options.executor.concurrency());
  std::vector<posenc::detail::TransformWorker<U>> all(static_cast<std::size_t>(workers));
  for (auto& worker : all) worker.prepare(n);
  posenc::detail::run_tasks(options.executor, workers, by.channels(), [&](Index w) {
    return [&, w](Index channel) {
      all[static_cast<std::size_t>(w)].transform_filter(by, channel, by.taps(), n,
                                                        by.template spectrum<U>(channel));
    };
  });
}

}  // namespace convolution

POSENC_DETAIL_CONVOLUTION LongConvolution::LongConvolution(std::span<const double> filters,
                                                           Index channels,
                                                           const FilterOptions& options)
    : channels_(channels), taps_(channels > 0 ? std::ssize(filters) / channels : 0) {
  constexpr Index most = Index{1} << 28;
  Problems problems;
  problems.require(channels >= 1 && taps_ >= 1 && taps_ <= most &&
                       taps_ * channels == std::ssize(filters),
                   "filters must be [channels][taps] with at least 1 channel and 1 to ", most,
                   " taps, got ", filters.size(), " numbers for ", channels, " channels.");
  problems.require(options.tolerance >= 0, "tolerance must not be negative, got ",
                   options.tolerance, ".");
  if (!std::ranges::all_of(filters, [](double x) { return std::isfinite(x); }))
    problems.add("filters must be finite.");
  problems.raise_if_any("posenc::mixers::LongConvolution");
  length_ = posenc::detail::transform_length(2 * taps_ - 1);
  in_float_ = true;
  in_float_ = error_bound() <= options.tolerance;
  using posenc::detail::Group, posenc::detail::group_channels;
  const Index groups = Group::groups(channels), numbers = groups * taps_ * group_channels;
  rows_ = posenc::detail::Memory(static_cast<std::size_t>(numbers) * sizeof(double));
  auto* const rows = reinterpret_cast<double*>(rows_.data());
  for (Index g = 0; g < groups; ++g)
    for (Index k = 0; k < taps_; ++k)
      for (Index c = 0; c < group_channels; ++c) {
        const Index channel = g * group_channels + c;
        rows[(g * taps_ + k) * group_channels + c] =
            channel < channels ? filters[static_cast<std::size_t>(channel * taps_ + k)] : 0;
      }
  spectra_ = posenc::detail::Memory(static_cast<std::size_t>(channels * (length_ + 2)) *
                                    (in_float_ ? sizeof(float) : sizeof(double)));
  if (in_float_)
    convolution::transform_filters<float>(*this, options);
  else
    convolution::transform_filters<double>(*this, options);
}

POSENC_DETAIL_CONVOLUTION double LongConvolution::error_bound() const {
  return 11 * std::log2(static_cast<double>(length_)) * (in_float_ ? 0x1p-23 : 0x1p-52);
}

POSENC_DETAIL_CONVOLUTION std::size_t LongConvolution::bytes() const {
  const Index groups = posenc::detail::Group::groups(channels_);
  return static_cast<std::size_t>(groups * taps_ * posenc::detail::group_channels) *
             sizeof(double) +
         static_cast<std::size_t>(channels_ * (length_ + 2)) *
             (in_float_ ? sizeof(float) : sizeof(double));
}

POSENC_DETAIL_CONVOLUTION ConvolutionScratch::ConvolutionScratch()
    : workers_(std::make_unique<posenc::detail::ConvolutionWorkers>()) {}
POSENC_DETAIL_CONVOLUTION
ConvolutionScratch::ConvolutionScratch(ConvolutionScratch&&) noexcept = default;
POSENC_DETAIL_CONVOLUTION ConvolutionScratch& ConvolutionScratch::operator=(
    ConvolutionScratch&&) noexcept = default;
POSENC_DETAIL_CONVOLUTION ConvolutionScratch::~ConvolutionScratch() = default;

POSENC_DETAIL_CONVOLUTION ConvolutionForm convolution_form(const LongConvolution& by, Index tokens,
                                                           Index outputs) {
  return posenc::detail::ConvolutionPlan(by, tokens, outputs).form();
}

POSENC_DETAIL_CONVOLUTION void convolve(const Operand& in, const Result& out,
                                        const LongConvolution& by,
                                        const ConvolutionOptions& options) {
  Problems problems;
  posenc::detail::check_tensor(problems, "in", in, in.tokens(), in.heads(), in.width());
  posenc::detail::check_tensor(problems, "out", out, out.tokens(), in.heads(), in.width());
  problems.require(out.tokens() <= in.tokens(), "out must have at most the ", in.tokens(),
                   " tokens of in, got ", out.tokens(), ".");
  posenc::detail::check_channels(problems, in, by);
  if (problems.empty())
    out.with_view([&](const auto& result) {
      posenc::detail::check_result(problems, "out", result);
      in.with_view([&](const auto& view) {
        problems.require(!overlap(result, view), "out must not overlap in.");
      });
    });
  problems.raise_if_any("posenc::mixers::convolve");
  if (out.tokens() == 0) return;
  const posenc::detail::OptionsWithScratch with(options);
  const posenc::detail::ConvolutionPlan plan(by, in.tokens(), out.tokens(), options.form);
  const std::size_t level = posenc::detail::level_index();
  with.workers().outputs.run(
      posenc::detail::ConvolutionCall{in.rows(level), out.rows(level), by, plan}, options.executor);
}

}  // namespace mixers

POSENC_NAMESPACE_END
