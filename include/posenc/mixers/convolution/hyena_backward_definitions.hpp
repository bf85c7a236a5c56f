// SPDX-License-Identifier: MIT
//
// backward() of Hyena's operator; see hyena_backward.hpp.
#pragma once

#include <posenc/mixers/convolution/hyena_backward.hpp>
#include <posenc/mixers/convolution/hyena_definitions.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What the threads of a call share; of rows [tokens][d_model].
struct HyenaBackwardCall {
  HyenaCall forward;
  Rows<float> d_out;
  OutRows<float> d_in;
  Index tokens;
  float *products,
      *values;  ///< [order - 1] of rows: what goes through the filters, and what comes out of them
  float *d, *d_product;  ///< rows
  float* d_short;        ///< [tokens][order + 1][d_model], behind the short filters

  /// Floats besides those of `forward`.
  static Index numbers(const mixers::HyenaOperator& by, Index tokens) {
    return tokens * by.d_model() * (3 * by.order() + 1);
  }

  [[nodiscard]] Index order() const { return forward.by.order(); }
  [[nodiscard]] Index width() const { return forward.by.d_model(); }
  /// Rows of the list of a filter.
  [[nodiscard]] float* of_filter(float* list, Index filter) const {
    return list + filter * tokens * width();
  }
  [[nodiscard]] TensorView<float> view(float* rows) const { return {rows, tokens, 1, width()}; }
  [[nodiscard]] float* scratch(Index worker) const {
    return forward.scratch + worker * 3 * width();
  }

  /// v as it comes to a gate; `to` is where it is computed that comes from the short filter.
  const float* value(Index token, Index part, float* row, float* to) const {
    if (part < order() - 1) return of_filter(values, order() - 2 - part) + token * width();
    forward.shorten(token, order(), row, to);
    return to;
  }
  /// What gate `part` gives to its filter, for some tokens.
  void gate(Index first, Index last, Index worker, Index part) const {
    float *const row = scratch(worker), *const v_row = row + width(), *const x = v_row + width();
    for (Index t = first; t < last; ++t) {
      const float* const v = value(t, part, row, v_row);
      forward.shorten(t, part, row, x);
      float* const to = of_filter(products, order() - 1 - part) + t * width();
      for (Index c = 0; c < width(); ++c) to[c] = v[c] * x[c];
    }
  }
  /// From the gradient of what gate `part` gives to those of its x and v.
  void gate_back(Index first, Index last, Index worker, Index part) const {
    float *const row = scratch(worker), *const v_row = row + width(), *const x = v_row + width();
    for (Index t = first; t < last; ++t) {
      const float* const v = value(t, part, row, v_row);
      forward.shorten(t, part, row, x);
      float* const from = (part == 0 ? d : d_product) + t * width();
      float* const d_x = d_short + (t * (order() + 1) + part) * width();
      float* const d_v = part == order() - 1 ? d_x + width() : d + t * width();
      if (part == 0) d_out.load(t, 0, from);
      for (Index c = 0; c < width(); ++c) {
        const float comes = from[c];
        d_x[c] = comes * v[c];
        d_v[c] = comes * x[c];
      }
    }
  }
  /// A group of the (order + 1) d_model channels through their short filter.
  void shorten_back(Index number, mixers::HyenaGradients* learned) const {
    const Index channels = (order() + 1) * width();
    const Group group(number, channels);
    const float* const weight = forward.by.parameters().short_weight.data() + 3 * group.first;
    const Rows<float> behind(TensorView<const float>(d_short, tokens, order() + 1, width()),
                             level_index());
    std::array<double, 3 * group_channels> of_weight{};
    std::array<double, group_channels> of_bias{};
    std::array<float, group_channels> in, comes, sum;
    const auto size = [](Index i) { return static_cast<std::size_t>(i); };
    for (Index t = 0; t < tokens; ++t) {
      group.load(forward.in, t, in.data());
      sum.fill(0);
      for (Index later = 0; later < 3; ++later) {
        group.load(behind, t + later, comes.data());
        for (Index c = 0; c < group.count; ++c) {
          const float one = comes[size(c)];
          sum[size(c)] += weight[3 * c + 2 - later] * one;
          of_weight[size(3 * c + 2 - later)] +=
              static_cast<double>(one) * static_cast<double>(in[size(c)]);
          if (later == 0) of_bias[size(c)] += static_cast<double>(one);
        }
      }
      group.store(d_in, t, sum.data());
    }
    if (!learned) return;
    for (Index i = 0; i < 3 * group.count; ++i)
      learned->short_weight[size(3 * group.first + i)] += of_weight[size(i)];
    for (Index c = 0; c < group.count; ++c)
      learned->short_bias[size(group.first + c)] += of_bias[size(c)];
  }
};

}  // namespace detail

namespace mixers {

POSENC_DETAIL_CONVOLUTION void backward(const Operand& in, const Operand& d_out,
                                        const HyenaTensorGradients& to, const HyenaOperator& by,
                                        const ConvolutionOptions& options) {
  const Index tokens = in.tokens(), width = by.d_model(), order = by.order();
  const Hyena& of = by.parameters();
  const Result d_in = to.in.data || tokens == 0 ? Result(to.in) : Result();
  Problems problems;
  posenc::detail::check_tensor(problems, "in", in, tokens, order + 1, width);
  posenc::detail::check_tensor(problems, "d_out", d_out, tokens, 1, width);
  posenc::detail::check_tensor(problems, "the gradient of in", d_in, tokens, order + 1, width);
  problems.require(tokens <= by.l_max(), "the filters are of l_max = ", by.l_max(),
                   " positions, got ", tokens, " tokens.");
  problems.require(!to.learned ||
                       (to.learned->short_weight.size() == of.short_weight.size() &&
                        to.learned->short_bias.size() == of.short_bias.size() &&
                        std::ssize(to.learned->filters) == of.filter.channels * by.l_max()),
                   "the gradients of what is learned are not those of this operator.");
  if (problems.empty())
    posenc::detail::check_apart(problems, "the gradient of in", d_in,
                                {{"in", &in}, {"d_out", &d_out}});
  problems.raise_if_any("posenc::mixers::backward");
  if (tokens == 0) return;

  const posenc::detail::OptionsWithScratch with(options);
  std::vector<float>& rows = with.workers().rows;
  const Index ranges = std::clamp<Index>(tokens / 16, 1, options.executor.concurrency());
  const Index recent = 2 * (order + 1) * width, whole = tokens * width;
  using posenc::detail::HyenaBackwardCall;
  posenc::detail::grow(rows, recent + 3 * ranges * width + HyenaBackwardCall::numbers(by, tokens));
  float* const scratch = std::fill_n(rows.data(), recent, 0.0F);
  float* const products = scratch + 3 * ranges * width;
  float *const values = products + (order - 1) * whole, *const d = values + (order - 1) * whole;
  const std::size_t level = posenc::detail::level_index();
  const HyenaBackwardCall call{
      {in.rows(level), {}, by, rows.data(), nullptr, scratch},
      d_out.rows(level),
      d_in.rows(level),
      tokens,
      products,
      values,
      d,
      d + whole,
      d + 2 * whole,
  };
  const auto over_tokens = [&](const auto& f) {
    const auto range = [&](Index i) { f(i * tokens / ranges, (i + 1) * tokens / ranges, i); };
    ranges == 1 ? range(0) : options.executor(ranges, range);
  };
  for (Index filter = 0; filter < order - 1; ++filter) {
    over_tokens([&](Index first, Index last, Index worker) {
      call.gate(first, last, worker, order - 1 - filter);
    });
    convolve(call.view(call.of_filter(products, filter)), call.view(call.of_filter(values, filter)),
             by.filter(filter), with.options());
  }
  for (Index part = 0; part < order; ++part) {
    if (part > 0) {
      const Index filter = order - 1 - part, numbers = width * by.l_max();
      const std::span<double> sums = to.learned
                                         ? std::span(to.learned->filters)
                                               .subspan(static_cast<std::size_t>(filter * numbers),
                                                        static_cast<std::size_t>(numbers))
                                         : std::span<double>();
      backward(call.view(call.of_filter(products, filter)), call.view(call.d),
               {.in = call.view(call.d_product), .filters = sums}, by.filter(filter),
               with.options());
    }
    over_tokens(
        [&](Index first, Index last, Index worker) { call.gate_back(first, last, worker, part); });
  }
  const Index groups = posenc::detail::Group::groups((order + 1) * width);
  posenc::detail::run_tasks(options.executor, std::min(groups, options.executor.concurrency()),
                            groups, [&](Index) {
                              return [&](Index group) { call.shorten_back(group, to.learned); };
                            });
}

}  // namespace mixers

POSENC_NAMESPACE_END
