// SPDX-License-Identifier: MIT
//
// AngleTable: cosine and sine of position * w_i, exact at every position.
//
// A float product of position and frequency is off by 1e-2 radians at position 131,072 and by 8e-2
// at a million, which is where long contexts live. Here angles are formed and reduced in double,
// and only the finished cosine and sine become float: both are within 1e-7 of the true value at
// every integer position up to 2^24 (and beyond, as long as position * 2^-53 is negligible).
//
// The table works in digits: with position = ... + d2 32^2 + d1 32 + d0,
//
//   e^(i position w) = ... e^(i d2 32^2 w) * e^(i d1 32 w) * e^(i d0 w)
//
// is a product of tabulated complex numbers, in double. Five digits of 32 rows reach 2^25 with 160
// KiB for 64 pairs; neighbouring tokens share all factors but the last, so a token of a sequence
// costs one product per pair. A position beyond 2^25 takes its excess from the library's cosine, a
// fractional one all of it, to the same accuracy. Answers depend on the position alone, never on
// what was asked before. TokenAngles (token_angles.hpp) multiplies.
//
// Two other modes reproduce the arithmetic of the peers, errors included, for users who compare
// activations with them:
//   huggingface  w = 1 / pow(base, 2i/d) in float32, angle = float(position) * w
//   ggml         angle_0 = float(position), angle_(i+1) = angle_i * powf(base, -2/d) in float32,
//                divided by w_plain / w (its freq_factors)
// with the cosine and sine of a float in both. Where pairs were dealt out to the axes of an image
// (RotaryState::ladder), i of Hugging Face is the pair of the ladder, and ggml multiplies by
// powf(base, -2/(d/2)), from float(position) on for each axis (ggml_mrope_cache_init of its vision
// mode); pairs of odd i are then scaled by powf(base, -2/d) (freq_scale, as its Pixtral is called).
#pragma once

#include <posenc/core/rotary_state.hpp>

#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// Whose arithmetic makes the angles.
enum class Angles { exact, huggingface, ggml };

class AngleTable {
 public:
  static constexpr int radix_bits = 5, num_digits = 5;
  static constexpr Position radix = Position{1} << radix_bits;
  /// Rows are padded to a multiple of this many pairs, with an angle of zero.
  static constexpr Index pair_block = 16;

  AngleTable() = default;

  /// Angles are position * step * state.inv_freq.
  explicit AngleTable(const RotaryState& state, Angles mode = Angles::exact, double step = 1);

  [[nodiscard]] Index pairs() const { return inv_freq_.size(); }
  [[nodiscard]] double step() const { return step_; }
  [[nodiscard]] Angles mode() const { return mode_; }

  /// Cosines of value * 32^digit; sines follow row_stride() further on. Exact mode only.
  [[nodiscard]] const double* row(int digit, Position value) const {
    return digits_.data() + (digit * radix + value) * 2 * stride_;
  }
  [[nodiscard]] Index row_stride() const { return stride_; }

  /// xPos: exp(growth value) of all pairs, padded with ones; -32 < value < 32. Only for
  /// states with growth.
  [[nodiscard]] const double* growth_row(Position value) const {
    return growth_.data() + (radix - 1 + value) * stride_;
  }

  /// cos and sin of pairs [first, first + count) at any position, by the library's own functions.
  void evaluate(double position, Index first, Index count, double* cos,
                double* sin) const noexcept {
    for (Index i = 0; i < count; ++i) {
      const double angle = first + i < pairs() ? position * inv_freq_[first + i] : 0;
      cos[i] = std::cos(angle);
      sin[i] = std::sin(angle);
    }
  }

  /// The same as a peer computes it, times the given factors; not in exact mode.
  template <class T>
  void evaluate_peer(double position, Index first, Index count, double cos_factor,
                     double sin_factor, T* cos, T* sin) const noexcept {
    const auto at = static_cast<float>(position * step_);
    const auto store = [&](Index i, float angle) {
      cos[i] = static_cast<T>(std::cos(angle)) * static_cast<T>(cos_factor);
      sin[i] = static_cast<T>(std::sin(angle)) * static_cast<T>(sin_factor);
    };
    const auto peer = [&](Index i) { return static_cast<float>(peer_[first + i]); };
    if (mode_ == Angles::huggingface) {
      for (Index i = 0; i < count; ++i) store(i, at * peer(i));
    } else {
      float angle = at;
      Index steps = 0;  // how often the angle was multiplied
      for (Index i = 0; i < count; ++i) {
        const Index rung = rungs_[static_cast<std::size_t>(first + i)];
        if (rung < steps) angle = at, steps = 0;
        for (; steps < rung; ++steps) angle *= ggml_ratio_;
        store(i, static_cast<float>(rung_scale_[first + i]) * (angle / peer(i)));
      }
    }
  }

 private:
  void tabulate();
  void tabulate_growth(const Frequencies& growth);
  void prepare_peer(const RotaryState& state);

  Angles mode_ = Angles::exact;
  double step_ = 1;
  Frequencies inv_freq_;
  Index stride_ = 0;
  std::vector<double> digits_;  ///< exact: [digit][value][cosines, sines][pair]
  std::vector<double> growth_;  ///< [value][pair]
  // What a peer computes with, floats all of them.
  Frequencies peer_;          ///< huggingface: frequencies; ggml: freq_factors
  std::vector<Index> rungs_;  ///< ggml, of each pair: products with ggml_ratio_
  Frequencies rung_scale_;    ///< ggml: what the pair is multiplied by afterwards
  float ggml_ratio_ = 0;
};

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/rotary/angles_definitions.hpp>
#endif
