// SPDX-License-Identifier: MIT
//
// How the tables of angles are made; see angles.hpp.
#pragma once

#include <posenc/rotary/angles.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The frequency w of a pair of the ladder as float32 arithmetic arrives at it; one that is a float
/// already stays as it is.
POSENC_DETAIL_DEFINITION float huggingface_frequency(const RotaryState& state, double w, Index pair,
                                                     double rescale) {
  const auto rounded = static_cast<float>(w);
  if (static_cast<double>(rounded) == w) return rounded;
  const float exponent = static_cast<float>(2 * pair) / static_cast<float>(state.rotary_dim);
  const float plain = 1.0F / std::pow(static_cast<float>(state.base), exponent);
  return static_cast<float>(plain / rescale);
}

/// What ggml multiplies an angle by from pair to pair: of an image, a ladder for each axis.
POSENC_DETAIL_DEFINITION float ggml_ratio(const RotaryState& state) {
  const Index dim = state.ladder.empty() ? state.rotary_dim : state.rotary_dim / 2;
  return std::pow(static_cast<float>(state.base), -2.0F / static_cast<float>(dim));
}

/// out = a * b, n cosines and behind them n sines each.
inline void multiply_rows(Index n, const double* a, const double* b, double* out) {
  for (Index i = 0; i < n; ++i) {
    const double ac = a[i], as = a[n + i], bc = b[i], bs = b[n + i];
    out[i] = ac * bc - as * bs;
    out[n + i] = ac * bs + as * bc;
  }
}

}  // namespace detail

POSENC_DETAIL_DEFINITION AngleTable::AngleTable(const RotaryState& state, Angles mode, double step)
    : mode_(mode), step_(step), inv_freq_(state.inv_freq * (mode == Angles::exact ? step : 1.0)),
      stride_((pairs() + pair_block - 1) / pair_block * pair_block),
      ggml_ratio_(detail::ggml_ratio(state)) {
  if (mode == Angles::exact)
    tabulate();
  else
    prepare_peer(state);
  if (state.growth.size() != 0) tabulate_growth(state.growth);
}

// Powers of two by the library's functions, since their angles are formed without rounding, and
// other values as products of up to five of them, within 4e-16: a scheme that depends on the
// length builds its table anew in every call, and a product takes a tenth of the time of a
// cosine and a sine.
POSENC_DETAIL_DEFINITION void AngleTable::tabulate() {
  digits_ = std::vector<double>(static_cast<std::size_t>(num_digits * radix * 2 * stride_));
  const auto row_of = [&](int digit, Position value) {
    return digits_.data() + (digit * radix + value) * 2 * stride_;
  };
  double unit = 1;
  for (int digit = 0; digit < num_digits; ++digit, unit *= radix)
    for (Position value = 0; value < radix; ++value) {
      double* const out = row_of(digit, value);
      if (const Position rest = value & (value - 1); rest == 0)
        evaluate(static_cast<double>(value) * unit, 0, stride_, out, out + stride_);
      else
        detail::multiply_rows(stride_, row_of(digit, rest), row_of(digit, value - rest), out);
    }
}

POSENC_DETAIL_DEFINITION void AngleTable::tabulate_growth(const Frequencies& growth) {
  growth_ = std::vector<double>(static_cast<std::size_t>((2 * radix - 1) * stride_), 1.0);
  for (Position value = 1 - radix; value < radix; ++value)
    for (Index i = 0; i < growth.size(); ++i)
      growth_[static_cast<std::size_t>((radix - 1 + value) * stride_ + i)] =
          std::exp(growth[i] * static_cast<double>(value));
}

POSENC_DETAIL_DEFINITION void AngleTable::prepare_peer(const RotaryState& state) {
  const Frequencies plain = geometric_frequencies(state.base, state.rotary_dim);
  const bool dealt_out = !state.ladder.empty();
  const float odd =
      std::pow(static_cast<float>(state.base), -2.0F / static_cast<float>(state.rotary_dim));
  peer_ = Frequencies(pairs());
  rungs_ = std::vector<Index>(static_cast<std::size_t>(pairs()));
  rung_scale_ = Frequencies::Ones(pairs());
  for (Index i = 0; i < pairs(); ++i) {
    const Index pair = dealt_out ? state.ladder[static_cast<std::size_t>(i)] : i;
    // 1 for unscaled pairs, infinite where the frequency is zero
    const double rescale = plain[pair] / inv_freq_[i];
    if (mode_ == Angles::huggingface) {
      peer_[i] = detail::huggingface_frequency(state, inv_freq_[i], pair, rescale);
    } else {
      peer_[i] = static_cast<float>(rescale);
      rungs_[static_cast<std::size_t>(i)] = dealt_out ? pair / 2 : pair;
      if (dealt_out && pair % 2 != 0) rung_scale_[i] = odd;
    }
  }
}

POSENC_NAMESPACE_END
