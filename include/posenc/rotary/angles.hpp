// SPDX-License-Identifier: MIT
//
// AngleTable: cosine and sine of position * w_i, exact at every position.
//
// A float product of position and frequency is off by 1e-2 radians at position 131,072 and by 8e-2
// at a million, which is where long contexts live. Here angles are formed and reduced in double,
// and only the finished cosine and sine become float: both are within 1e-7 of the true value at
// every integer position up to 2^24 (and beyond, as long as position * 2^-53 is negligible).
//
// The table works in digits. With position = (high * 128 + middle) * 128 + low,
//
//   e^(i position w) = e^(i high 128^2 w) * e^(i middle 128 w) * e^(i low w)
//
// is two complex products of tabulated numbers, in double. Three digits of 128 rows hold every
// position up to 2^21 in 384 KiB for 64 pairs; a larger or negative high digit, and a fractional
// position, is evaluated directly, to the same accuracy. Answers depend on the position alone,
// never on what was asked before, and asking allocates nothing.
//
// Two other modes reproduce the arithmetic of the peers, errors included, for users who compare
// activations with them:
//   huggingface  w = 1 / pow(base, 2i/d) in float32, angle = float(position) * w
//   ggml         angle_0 = float(position), angle_(i+1) = angle_i * powf(base, -2/d) in float32,
//                divided by w_plain / w (its freq_factors)
// with the cosine and sine of a float in both.
#pragma once

#include <posenc/core/rotary_state.hpp>

#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// Whose arithmetic makes the angles.
enum class Angles { exact, huggingface, ggml };

class AngleTable {
 public:
  AngleTable() = default;

  /// Angles are position * step * state.inv_freq.
  explicit AngleTable(const RotaryState& state, Angles mode = Angles::exact, double step = 1)
      : mode_(mode), step_(step), inv_freq_(state.inv_freq * (mode == Angles::exact ? step : 1.0)),
        ggml_ratio_(std::pow(static_cast<float>(state.base),
                             -2.0F / static_cast<float>(state.rotary_dim))) {
    if (mode == Angles::exact) {
      digits_.resize(static_cast<std::size_t>(num_digits * radix * 2 * pairs()));
      double unit = 1;
      for (Index digit = 0; digit < num_digits; ++digit, unit *= radix)
        for (Index value = 0; value < radix; ++value) {
          double* row = digits_.data() + row_offset(digit, value);
          for (Index i = 0; i < pairs(); ++i) {
            const double angle = static_cast<double>(value) * unit * inv_freq_[i];
            row[i] = std::cos(angle);
            row[pairs() + i] = std::sin(angle);
          }
        }
    } else {
      // 1 for unscaled pairs, infinite where the frequency is zero
      const Frequencies rescale = geometric_frequencies(state.base, state.rotary_dim) / inv_freq_;
      for (Index i = 0; i < pairs(); ++i)
        peer_.push_back(mode == Angles::ggml ? static_cast<float>(rescale[i])
                                             : huggingface_frequency(state, i, rescale[i]));
    }
  }

  [[nodiscard]] Index pairs() const { return inv_freq_.size(); }
  [[nodiscard]] double step() const { return step_; }

  /// Writes cosine and sine of pairs [first, first + count) at an integer position.
  template <class T>
  void cos_sin(Position position, Index first, Index count, T* cos, T* sin) const noexcept {
    if (mode_ != Angles::exact)
      return peer_cos_sin(static_cast<double>(position), first, count, cos, sin);
    // Rotating back by n is the mirror image of rotating by n, to the last bit.
    const Position n = std::abs(position);
    const Position high = n >> (2 * radix_bits);
    const double* low_row = row(0, n & (radix - 1)) + first;
    const double* middle_row = row(1, (n >> radix_bits) & (radix - 1)) + first;
    if (high >= 0 && high < radix) {
      const double* high_row = row(2, high) + first;
      for (Index i = 0; i < count; ++i)
        product(high_row[i], high_row[pairs() + i], middle_row, low_row, i, cos, sin);
    } else {
      const double base_position = static_cast<double>(high) * (radix * radix);
      for (Index i = 0; i < count; ++i) {
        const double angle = base_position * inv_freq_[first + i];
        product(std::cos(angle), std::sin(angle), middle_row, low_row, i, cos, sin);
      }
    }
    if (position < 0)
      for (Index i = 0; i < count; ++i) sin[i] = -sin[i];
  }

  /// The same at a real position.
  template <class T>
  void cos_sin(double position, Index first, Index count, T* cos, T* sin) const noexcept {
    if (mode_ != Angles::exact) return peer_cos_sin(position, first, count, cos, sin);
    if (position == std::floor(position) && std::abs(position) <= 0x1p62)
      return cos_sin(static_cast<Position>(position), first, count, cos, sin);
    for (Index i = 0; i < count; ++i) {
      const double angle = position * inv_freq_[first + i];
      cos[i] = static_cast<T>(std::cos(angle));
      sin[i] = static_cast<T>(std::sin(angle));
    }
  }

 private:
  static constexpr Index radix_bits = 7;
  static constexpr Index radix = Index{1} << radix_bits;
  static constexpr Index num_digits = 3;

  [[nodiscard]] Index row_offset(Index digit, Index value) const {
    return (digit * radix + value) * 2 * pairs();
  }
  [[nodiscard]] const double* row(Index digit, Index value) const {
    return digits_.data() + row_offset(digit, value);
  }

  template <class T>
  void product(double c, double s, const double* middle, const double* low, Index i, T* cos,
               T* sin) const noexcept {
    const double mc = middle[i], ms = middle[pairs() + i];
    const double lc = low[i], ls = low[pairs() + i];
    const double hc = c * mc - s * ms, hs = c * ms + s * mc;
    cos[i] = static_cast<T>(hc * lc - hs * ls);
    sin[i] = static_cast<T>(hc * ls + hs * lc);
  }

  template <class T>
  void peer_cos_sin(double position, Index first, Index count, T* cos, T* sin) const noexcept {
    const auto at = static_cast<float>(position * step_);
    const auto store = [&](Index i, float angle) {
      cos[i] = static_cast<T>(std::cos(angle));
      sin[i] = static_cast<T>(std::sin(angle));
    };
    const float* peer = peer_.data() + first;
    if (mode_ == Angles::huggingface) {
      for (Index i = 0; i < count; ++i) store(i, at * peer[i]);
    } else {
      float angle = at;
      for (Index i = 0; i < first; ++i) angle *= ggml_ratio_;
      for (Index i = 0; i < count; ++i, angle *= ggml_ratio_) store(i, angle / peer[i]);
    }
  }

  /// w_i as float32 arithmetic arrives at it; a frequency that is a float already stays as it is.
  static float huggingface_frequency(const RotaryState& state, Index i, double rescale) {
    const auto rounded = static_cast<float>(state.inv_freq[i]);
    if (static_cast<double>(rounded) == state.inv_freq[i]) return rounded;
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(state.rotary_dim);
    const float plain = 1.0F / std::pow(static_cast<float>(state.base), exponent);
    return static_cast<float>(plain / rescale);
  }

  Angles mode_ = Angles::exact;
  double step_ = 1;
  Frequencies inv_freq_;
  std::vector<double> digits_;  ///< exact: [digit][value][cosines, sines][pair]
  std::vector<float> peer_;     ///< huggingface: frequencies; ggml: freq_factors
  float ggml_ratio_ = 0;
};

POSENC_NAMESPACE_END
