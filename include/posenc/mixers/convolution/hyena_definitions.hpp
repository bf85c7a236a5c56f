// SPDX-License-Identifier: MIT
//
// Hyena's operator; see hyena.hpp.
#pragma once

#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/convolution/hyena.hpp>
#include <posenc/mixers/convolution/parameters.hpp>
#include <posenc/mixers/convolution/workers.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What the threads of a call share.
struct HyenaCall {
  Rows<float> in;
  OutRows<float> out;
  const mixers::HyenaOperator& by;
  const float* recent;  ///< [2][order + 1][d_model], the tokens before the first
  float* v;             ///< [tokens][d_model]
  float* scratch;       ///< [workers][2][d_model]

  /// One of the projections of a token behind its short filter; two tokens before the first are `recent`.
  void shorten(Index token, Index part, float* row, float* to) const {
    const mixers::Hyena& of = by.parameters();
    const Index width = of.d_model;
    const float* const weight = of.short_weight.data() + part * width * 3;
    std::copy_n(of.short_bias.data() + part * width, width, to);
    for (Index back = 0; back < 3; ++back) {
      const float* from = row;
      if (token >= back)
        in.load(token - back, part, row);
      else
        from = recent + ((2 + token - back) * (of.order + 1) + part) * width;
      for (Index c = 0; c < width; ++c) to[c] += weight[3 * c + 2 - back] * from[c];
    }
  }

  /// v = x_part v for some tokens, of which the first ones in turn are behind their filter; also to `kept` when given.
  void gate(Index first, Index last, Index worker, Index part, float* kept) const {
    const Index width = by.d_model();
    float *const row = scratch + worker * 2 * width, *const x = row + width;
    for (Index t = first; t < last; ++t) {
      float* const now = v + t * width;
      if (part == by.order() - 1) shorten(t, by.order(), row, now);  // v itself
      shorten(t, part, row, x);
      for (Index c = 0; c < width; ++c) now[c] *= x[c];
      if (kept)
        std::copy_n(now, width, kept + t * width);
      else
        out.store(t, 0, now);
    }
  }

  /// The last two tokens of the sequence, for the next call.
  void remember(Index tokens, std::vector<float>& to) const {
    const Index row = std::ssize(to) / 2, width = by.d_model();
    if (tokens == 1) std::copy_n(to.begin() + row, row, to.begin());
    for (Index t = std::max<Index>(0, tokens - 2); t < tokens; ++t)
      for (Index part = 0; part <= by.order(); ++part)
        in.load(t, part, to.data() + (2 + t - tokens) * row + part * width);
  }
};

}  // namespace detail

namespace mixers {

POSENC_DETAIL_CONVOLUTION Hyena Hyena::initial(Index d_model, Index l_max, std::uint64_t seed,
                                               Index order, Index filter_order, Index emb_dim) {
  Hyena of{.d_model = d_model, .order = order};
  SeededRandom random(seed);
  const double most = 1 / std::sqrt(3.0);  // three inputs
  of.short_weight = parameters::uniforms(random, (order + 1) * d_model * 3, -most, most);
  of.short_bias = parameters::uniforms(random, (order + 1) * d_model, -most, most);
  of.filter = HyenaFilter::initial((order - 1) * d_model, l_max, random, filter_order, emb_dim);
  return of;
}

POSENC_DETAIL_CONVOLUTION void Hyena::check(Problems& problems) const {
  constexpr Index most = 64;
  const bool orders = order >= 2 && order <= most;
  problems.require(orders, "the order must be 2 to ", most, ", got ", order, ".");
  if (!parameters::check_width(problems, "d_model", d_model) || !orders) return;
  parameters::check(problems, "short_weight", short_weight, (order + 1) * d_model * 3,
                    "[order + 1][d_model][3]");
  parameters::check(problems, "short_bias", short_bias, (order + 1) * d_model,
                    "[order + 1][d_model]");
  problems.require(filter.channels == (order - 1) * d_model, "filters must be of (order - 1) ",
                   "d_model = ", (order - 1) * d_model, " channels, got ", filter.channels, ".");
  filter.check(problems);
}

POSENC_DETAIL_CONVOLUTION HyenaOperator::HyenaOperator(const Hyena& of,
                                                       const FilterOptions& options)
    : of_(of) {
  Problems problems;
  of.check(problems);
  problems.raise_if_any("posenc::mixers::Hyena");
  std::vector<double> h = of.filter.filters(l_max());
  for (Index c = 0; c < of.filter.channels; ++c)
    h[static_cast<std::size_t>(c * l_max())] +=
        static_cast<double>(of.filter.bias[static_cast<std::size_t>(c)]);
  const auto numbers = static_cast<std::size_t>(d_model() * l_max());
  for (Index i = 0; i + 1 < order(); ++i)
    filters_.emplace_back(std::span(h).subspan(static_cast<std::size_t>(i) * numbers, numbers),
                          d_model(), options);
}

POSENC_DETAIL_CONVOLUTION HyenaState::HyenaState(const HyenaOperator& of, Index capacity)
    : d_model_(of.d_model()), order_(of.order()), capacity_(capacity == 0 ? of.l_max() : capacity) {
  Problems problems;
  problems.require(capacity >= 0 && capacity <= of.l_max(),
                   "a state holds up to l_max = ", of.l_max(), " tokens, got ", capacity, ".");
  problems.raise_if_any("posenc::mixers::HyenaState");
  kept_.resize(static_cast<std::size_t>((order_ - 1) * capacity_ * d_model_));
  recent_.resize(static_cast<std::size_t>(2 * (order_ + 1) * d_model_));
}

POSENC_DETAIL_CONVOLUTION void HyenaState::clear() {
  tokens_ = 0;
  recent_.assign(recent_.size(), 0);
}

POSENC_DETAIL_CONVOLUTION void hyena(const Operand& in, const Result& out, const HyenaOperator& by,
                                     HyenaState& state, const ConvolutionOptions& options) {
  const Index tokens = in.tokens(), width = by.d_model(), before = state.tokens();
  Problems problems;
  posenc::detail::check_tensor(problems, "in", in, tokens, by.order() + 1, width);
  posenc::detail::check_tensor(problems, "out", out, tokens, 1, width);
  problems.require(state.d_model() == width && state.order() == by.order(),
                   "the state is of order ", state.order(), " and ", state.d_model(),
                   " channels, but the operator of order ", by.order(), " and ", width, ".");
  problems.require(tokens <= state.capacity() - before, "the state holds ", state.capacity(),
                   " tokens and has ", before, ", so ", tokens, " more do not fit.");
  if (problems.empty())
    out.with_view([&](const auto& result) {
      posenc::detail::check_result(problems, "out", result);
      in.with_view([&](const auto& view) {
        problems.require(!overlap(result, view), "out must not overlap in.");
      });
    });
  problems.raise_if_any("posenc::mixers::hyena");
  if (tokens == 0) return;

  const posenc::detail::OptionsWithScratch with(options);
  std::vector<float>& rows = with.workers().rows;
  const Index ranges = std::clamp<Index>(tokens / 16, 1, options.executor.concurrency());
  posenc::detail::grow(rows, (tokens + 2 * ranges) * width);
  const std::size_t level = posenc::detail::level_index();
  const posenc::detail::HyenaCall call{
      in.rows(level), out.rows(level), by, state.recent().data(), rows.data() + 2 * ranges * width,
      rows.data()};
  for (Index part = by.order() - 1; part >= 0; --part) {
    const Index filter = by.order() - 1 - part;
    float* const kept = part > 0 ? state.kept(filter) : nullptr;
    const auto gate = [&](Index i) {
      call.gate(i * tokens / ranges, (i + 1) * tokens / ranges, i, part,
                kept ? kept + before * width : nullptr);
    };
    ranges == 1 ? gate(0) : options.executor(ranges, gate);
    if (kept)
      convolve(TensorView<const float>(kept, before + tokens, 1, width),
               TensorView<float>(call.v, tokens, 1, width), by.filter(filter), with.options());
  }
  call.remember(tokens, state.recent());
  state.set_tokens(before + tokens);
}

}  // namespace mixers

POSENC_NAMESPACE_END
