// SPDX-License-Identifier: MIT
//
// backward() of Hyena's filters; see hyena_filter_backward.hpp.
#pragma once

#include <posenc/mixers/convolution/hyena_filter_backward.hpp>
#include <posenc/mixers/convolution/hyena_filter_definitions.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

POSENC_DETAIL_CONVOLUTION void backward(std::span<const double> d_filters, HyenaFilterGradients& to,
                                        const HyenaFilter& of) {
  Problems problems;
  of.check(problems);
  const Index channels = std::max<Index>(of.channels, 1), taps = std::ssize(d_filters) / channels;
  problems.require(taps >= 1 && taps <= of.l_max && taps * channels == std::ssize(d_filters),
                   "the gradient of filters must be [", of.channels,
                   "][taps] with 1 to l_max = ", of.l_max, " taps, got ", d_filters.size(),
                   " numbers.");
  problems.require(
      to.in_weight.size() == of.in_weight.size() && to.in_bias.size() == of.in_bias.size() &&
          to.inner_weight.size() == of.inner_weight.size() &&
          to.inner_bias.size() == of.inner_bias.size() && to.freq.size() == of.freq.size() &&
          to.out_weight.size() == of.out_weight.size() && to.bias.size() == of.bias.size(),
      "the gradients of what is learned are not those of this filter.");
  problems.raise_if_any("posenc::mixers::backward");

  using hyena_filter::Rows;
  const hyena_filter::Network network(of);
  const Eigen::Map<const Rows> all(d_filters.data(), channels, taps);
  const auto sums = [](std::vector<double>& x, Index first, Index rows, Index columns) {
    return Eigen::Map<Rows>(x.data() + first, rows, columns);
  };
  const Index width = of.width;
  std::vector<Eigen::MatrixXd> inputs(static_cast<std::size_t>(network.layers())), sines = inputs;
  for (Index start = 0; start < taps; start += hyena_filter::Network::most) {
    const Index some = std::min(hyena_filter::Network::most, taps - start);
    Eigen::MatrixXd a = network.features(start, some);
    for (std::size_t layer = 0; layer < inputs.size(); ++layer) {
      inputs[layer] = a;
      sines[layer] = network.enter(static_cast<Index>(layer), a);
      a = network.bend(sines[layer]);
    }
    Eigen::MatrixXd d = all.middleCols(start, some);
    network.modulate(start, d);
    sums(to.out_weight, 0, channels, width) += d * a.transpose();
    d = (network.last.transpose() * d).eval();
    for (std::size_t layer = inputs.size(); layer-- > 0;) {
      const auto inner = static_cast<Index>(layer) - 1;
      d.array() *= (network.speed.asDiagonal() * sines[layer]).eval().array().cos();
      sums(to.freq, 0, width, 1) += d.cwiseProduct(sines[layer]).rowwise().sum();
      d = (network.speed.asDiagonal() * d).eval();
      auto weight = layer == 0 ? sums(to.in_weight, 0, width, of.emb_dim)
                               : sums(to.inner_weight, inner * width * width, width, width);
      auto bias =
          layer == 0 ? sums(to.in_bias, 0, width, 1) : sums(to.inner_bias, inner * width, width, 1);
      weight += d * inputs[layer].transpose();
      bias += d.rowwise().sum();
      if (layer > 0) d = (network.weight(static_cast<Index>(layer)).transpose() * d).eval();
    }
  }
  sums(to.bias, 0, channels, 1) += all.col(0);
}

}  // namespace mixers

POSENC_NAMESPACE_END
