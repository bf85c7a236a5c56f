// SPDX-License-Identifier: MIT
//
// Hyena's filters; see hyena_filter.hpp.
#pragma once

#include <posenc/mixers/convolution/hyena_filter.hpp>
#include <posenc/mixers/convolution/parameters.hpp>

#include <Eigen/Core>

POSENC_NAMESPACE_BEGIN

namespace mixers {

namespace hyena_filter {

/// n numbers from the first to the last.
inline double evenly(double first, double last, Index i, Index n) {
  return n > 1 ? first + (last - first) * static_cast<double>(i) / static_cast<double>(n - 1)
               : first;
}

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
inline Eigen::MatrixXd matrix(const std::vector<float>& x, Index first, Index rows, Index columns) {
  using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const Floats>(x.data() + first, rows, columns).cast<double>();
}

/// The network in double, at some positions at a time, of which each is a column.
struct Network {
  static constexpr Index most = 256;  ///< positions at a time

  const HyenaFilter& of;
  Eigen::VectorXd speed, first_bias, biases;
  Eigen::MatrixXd first, inner, last;

  explicit Network(const HyenaFilter& of_)
      : of(of_), speed(matrix(of.freq, 0, of.width, 1)),
        first_bias(matrix(of.in_bias, 0, of.width, 1)),
        biases(matrix(of.inner_bias, 0, of.inner_layers * of.width, 1)),
        first(matrix(of.in_weight, 0, of.width, of.emb_dim)),
        inner(matrix(of.inner_weight, 0, of.inner_layers * of.width, of.width)),
        last(matrix(of.out_weight, 0, of.channels, of.width)) {}

  [[nodiscard]] Index layers() const { return of.inner_layers + 1; }
  [[nodiscard]] Eigen::MatrixXd weight(Index layer) const {
    return layer == 0 ? first : inner.middleRows((layer - 1) * of.width, of.width);
  }
  /// What enters the sines of a layer, before it is multiplied by freq.
  [[nodiscard]] Eigen::MatrixXd enter(Index layer, const Eigen::MatrixXd& a) const {
    const Eigen::VectorXd bias =
        layer == 0 ? first_bias : biases.segment((layer - 1) * of.width, of.width);
    return (weight(layer) * a).colwise() + bias;
  }
  [[nodiscard]] Eigen::MatrixXd bend(const Eigen::MatrixXd& x) const {
    return (speed.asDiagonal() * x).eval().array().sin().matrix();
  }

  /// z
  [[nodiscard]] Eigen::MatrixXd features(Index start, Index some) const {
    const Index bands = (of.emb_dim - 1) / 2;
    Eigen::MatrixXd z(of.emb_dim, some);
    for (Index i = 0; i < some; ++i) {
      z(0, i) = evenly(0, 1, start + i, of.l_max);
      for (Index band = 0; band < bands; ++band) {
        const double angle = evenly(1e-4, static_cast<double>(bands - 1), band, bands) * 2 *
                             std::numbers::pi * static_cast<double>(start + i) /
                             static_cast<double>(of.l_max);
        z(1 + band, i) = std::cos(angle), z(1 + bands + band, i) = -std::sin(angle);
      }
    }
    return z;
  }
  /// Multiplies [channels][some] by the window.
  void modulate(Index start, Eigen::MatrixXd& h) const {
    if (!of.modulate) return;
    const double log_target = std::log(of.target);
    for (Index c = 0; c < of.channels; ++c) {
      const double delta =
          evenly(log_target / of.slow_decay_pct, log_target / of.fast_decay_pct, c, of.channels);
      for (Index i = 0; i < h.cols(); ++i)
        h(c, i) *= std::exp(-evenly(0, 1, start + i, of.l_max) * std::abs(delta)) + of.shift;
    }
  }
};

}  // namespace hyena_filter

POSENC_DETAIL_CONVOLUTION HyenaFilter HyenaFilter::initial(Index channels, Index l_max,
                                                           SeededRandom& random, Index width,
                                                           Index emb_dim) {
  HyenaFilter of{.channels = channels, .l_max = l_max, .emb_dim = emb_dim, .width = width};
  const auto linear = [&](Index n, Index inputs) {
    const double most = 1 / std::sqrt(static_cast<double>(std::max<Index>(inputs, 1)));
    return parameters::uniforms(random, n, -most, most);
  };
  of.in_weight = linear(width * emb_dim, emb_dim), of.in_bias = linear(width, emb_dim);
  of.inner_weight = linear(of.inner_layers * width * width, width);
  of.inner_bias = linear(of.inner_layers * width, width);
  of.out_weight = linear(channels * width, width);
  of.freq.assign(static_cast<std::size_t>(std::max<Index>(width, 0)), 1);
  of.bias = parameters::normals(random, channels);
  return of;
}

POSENC_DETAIL_CONVOLUTION void HyenaFilter::check(Problems& problems) const {
  const bool widths = parameters::check_width(problems, "the channels of filters", channels) &&
                      parameters::check_width(problems, "l_max", l_max) &&
                      parameters::check_width(problems, "the width of filter layers", width);
  const bool embeds = emb_dim >= 3 && emb_dim <= 1 << 16 && emb_dim % 2 == 1;
  problems.require(embeds, "emb_dim must be odd and at least 3 (time, cosines and sines), got ",
                   emb_dim, ".");
  problems.require(inner_layers >= 0 && inner_layers <= 1024,
                   "inner_layers must be 0 to 1024, got ", inner_layers, ".");
  if (!widths || !embeds || inner_layers < 0 || inner_layers > 1024) return;
  parameters::check(problems, "in_weight", in_weight, width * emb_dim, "[width][emb_dim]");
  parameters::check(problems, "in_bias", in_bias, width, "[width]");
  parameters::check(problems, "inner_weight", inner_weight, inner_layers * width * width,
                    "[inner_layers][width][width]");
  parameters::check(problems, "inner_bias", inner_bias, inner_layers * width,
                    "[inner_layers][width]");
  parameters::check(problems, "freq", freq, width, "[width]");
  parameters::check(problems, "out_weight", out_weight, channels * width, "[channels][width]");
  parameters::check(problems, "bias", bias, channels, "[channels]");
  problems.require(target > 0 && target <= 1 && fast_decay_pct > 0 && slow_decay_pct > 0,
                   "the window needs a target in (0, 1] and decays above 0, got ", target, ", ",
                   fast_decay_pct, " and ", slow_decay_pct, ".");
  problems.require(std::isfinite(shift), "shift must be finite, got ", shift, ".");
}

POSENC_DETAIL_CONVOLUTION std::vector<double> HyenaFilter::filters(Index taps) const {
  Problems problems;
  check(problems);
  problems.require(taps >= 1 && taps <= l_max, "filters have 1 to l_max = ", l_max, " taps, got ",
                   taps, ".");
  problems.raise_if_any("posenc::mixers::HyenaFilter");
  std::vector<double> all(static_cast<std::size_t>(channels * taps));
  Eigen::Map<hyena_filter::Rows> h(all.data(), channels, taps);
  const hyena_filter::Network network(*this);
  for (Index start = 0; start < taps; start += hyena_filter::Network::most) {
    const Index some = std::min(hyena_filter::Network::most, taps - start);
    Eigen::MatrixXd a = network.features(start, some);
    for (Index layer = 0; layer < network.layers(); ++layer)
      a = network.bend(network.enter(layer, a));
    a = (network.last * a).eval();
    network.modulate(start, a);
    h.middleCols(start, some) = a;
  }
  return all;
}

}  // namespace mixers

POSENC_NAMESPACE_END
