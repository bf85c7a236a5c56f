// SPDX-License-Identifier: MIT
//
// backward() of a long convolution; see backward.hpp.
#pragma once

#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/convolution/backward.hpp>
#include <posenc/mixers/convolution/long_convolution_definitions.hpp>
#include <posenc/mixers/convolution/workers.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

POSENC_DETAIL_CONVOLUTION void backward(const Operand& in, const Operand& d_out,
                                        const ConvolutionGradients& to, const LongConvolution& of,
                                        const ConvolutionOptions& options) {
  const Index tokens = in.tokens(), outputs = d_out.tokens();
  const bool wanted = to.in.data != nullptr;
  const Result d_in = wanted ? Result(to.in) : Result();
  Problems problems;
  posenc::detail::check_tensor(problems, "in", in, tokens, in.heads(), in.width());
  posenc::detail::check_tensor(problems, "d_out", d_out, outputs, in.heads(), in.width());
  problems.require(outputs <= tokens, "d_out must have at most the ", tokens, " tokens of in, got ",
                   outputs, ".");
  posenc::detail::check_channels(problems, in, of);
  if (wanted)
    posenc::detail::check_tensor(problems, "the gradient of in", d_in, tokens, in.heads(),
                                 in.width());
  problems.require(to.filters.empty() || std::ssize(to.filters) == of.channels() * of.taps(),
                   "the gradient of filters must be [", of.channels(), "][", of.taps(), "], got ",
                   to.filters.size(), " numbers.");
  if (problems.empty() && wanted)
    posenc::detail::check_apart(problems, "the gradient of in", d_in,
                                {{"in", &in}, {"d_out", &d_out}});
  problems.raise_if_any("posenc::mixers::backward");

  const posenc::detail::OptionsWithScratch with(options);
  posenc::detail::ConvolutionWorkers& workers = with.workers();
  const std::size_t level = posenc::detail::level_index();
  const auto reversed = posenc::detail::reversed(d_out.rows(level));
  if (wanted && tokens > 0)
    workers.outputs.run(
        posenc::detail::ConvolutionCall{reversed, posenc::detail::reversed(d_in.rows(level)), of,
                                        posenc::detail::ConvolutionPlan(of, tokens, tokens,
                                                                        options.form)},
        options.executor);
  if (!to.filters.empty() && outputs > 0)
    workers.taps.run(
        posenc::detail::TapsCall{in.rows(level), reversed, of,
                                 posenc::detail::ConvolutionPlan(of, tokens, outputs, options.form),
                                 to.filters},
        options.executor);
}

}  // namespace mixers

POSENC_NAMESPACE_END
