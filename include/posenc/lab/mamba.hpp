// SPDX-License-Identifier: MIT
//
// MambaMixing: a layer of Mamba (Gu and Dao, arXiv 2312.00752; state-spaces/mamba, modules/mamba_simple.py).
//
//   [u, z] = x W_in        u = silu(conv(u))        a causal convolution of width 4 of each channel
//   [r, B, C] = u W_x      dt = r W_dt              r of rank ceil(width / 16)
//   y = (selective scan of u, dt, B, C + D u) silu(z)        x += y W_out
//
// W_in and W_out lie where the weights of attention do, and have as many numbers: 4/3 width channels, where the
// published block has 2 width. (So a quarter of W_out begins with the deviation of W_in.) All else begins as published:
// A = -1 ... -16, D = 1, dt_bias such that Delta is log-uniform within [0.001, 0.1]; W_x and the convolution as PyTorch
// begins them.
#pragma once

#include <posenc/lab/layers.hpp>
#include <posenc/lab/learned_parts.hpp>
#include <posenc/lab/token_mixing.hpp>
#include <posenc/mixers/scan_backward.hpp>
#include <posenc/mixers/short_convolution_backward.hpp>

POSENC_NAMESPACE_BEGIN

namespace lab {

class MambaMixing final : public TokenMixing {
 public:
  static constexpr Index d_state = 16, d_conv = 4;

  explicit MambaMixing(const MixingPlace& at)
      : channels_(4 * at.shape.width() / 3), rank_(mixers::Mamba::dt_rank(at.shape.width())) {
    const auto seed = static_cast<std::uint64_t>(4 * at.layer);
    const double of_taps = 1 / std::sqrt(static_cast<double>(d_conv));
    const mixers::Mamba begins = mixers::Mamba::initial(channels_, seed, 1, d_state);
    taps_ = parts_.add(uniform(channels_ * d_conv, of_taps, seed + 1));
    taps_bias_ = parts_.add(uniform(channels_, of_taps, seed + 2));
    to_states_ = parts_.add(uniform(channels_ * (rank_ + 2 * d_state),
                                    1 / std::sqrt(static_cast<double>(channels_)), seed + 3));
    to_dt_ = parts_.add(mixers::Mamba::initial_dt_proj(channels_, rank_, seed));
    a_log_ = parts_.add(begins.A_log);
    dt_bias_ = parts_.add(begins.dt_bias);
    skip_ = parts_.add(begins.D);
  }

  [[nodiscard]] MixingWidths widths(const ModelShape&) const override {
    return {2 * channels_, channels_};
  }
  [[nodiscard]] Index num_learned() const override { return parts_.size(); }
  [[nodiscard]] std::vector<double> initial() const override { return parts_.initial(); }

  void forward(const MixedRows& rows, std::span<const double> learned, Matrix& out,
               std::vector<Matrix>& kept, const AnyExecutor& executor) const override {
    const Learned of(*this, learned);
    kept.resize(3);
    Matrix &u = kept[0], &states = kept[1], &dt = kept[2];
    const std::vector<Index> starts = rows.starts();
    u.resize(rows.in.rows(), channels_), out.resize(rows.in.rows(), channels_);
    mixers::State inputs_before = of.convolution.state(rows.sequences);
    mixers::convolve(all<const float>(rows.projected), all<float>(u), RaggedBatch{starts},
                     of.convolution, inputs_before, {.executor = executor});
    product(u, of.to_states, states);
    product(Matrix(states.leftCols(rank_)), of.to_dt, dt);
    mixers::State state = of.scan.state(rows.sequences);
    mixers::scan(inputs(rows, kept), all<float>(out), RaggedBatch{starts}, of.scan, state,
                 {.executor = executor});
  }

  void backward(const MixedRows& rows, std::span<const double> learned, const Matrix& d_out,
                const std::vector<Matrix>& kept, Matrix& d_projected, Matrix& d_in,
                std::span<double> d_learned) const override {
    const Learned of(*this, learned);
    const Matrix &u = kept[0], &states = kept[1];
    const std::vector<Index> starts = rows.starts();
    LearnedGradient gradient(parts_);
    d_projected.resize(rows.in.rows(), 2 * channels_);
    d_in.setZero(rows.in.rows(), rows.in.cols());
    Matrix d_u(u.rows(), u.cols()), d_dt = d_u, d_states(states.rows(), states.cols());
    const mixers::State before = of.scan.state(rows.sequences);
    mixers::State d_h = before;
    mixers::MambaGradients of_scan(of.scan);
    mixers::backward(inputs(rows, kept), all<const float>(d_out), before, d_h,
                     {.u = all<float>(d_u),
                      .dt = all<float>(d_dt),
                      .B = state_of<float>(d_states, 0),
                      .C = state_of<float>(d_states, 1),
                      .z = columns<float>(d_projected, channels_, 1, channels_),
                      .learned = &of_scan},
                     RaggedBatch{starts}, of.scan);
    gradient.set(a_log_, of_scan.A_log);
    gradient.set(dt_bias_, of_scan.dt_bias), gradient.set(skip_, of_scan.D);

    Matrix d_rank, d_to_dt, d_to_states;
    const Matrix rank = states.leftCols(rank_);
    product(Factor(rank).transposed(), d_dt, d_to_dt);
    product(d_dt, Factor(of.to_dt).transposed(), d_rank);
    d_states.leftCols(rank_) = d_rank;
    product(Factor(u).transposed(), d_states, d_to_states);
    add_product(d_states, Factor(of.to_states).transposed(), d_u);
    gradient.set(to_dt_, d_to_dt), gradient.set(to_states_, d_to_states);

    const mixers::State inputs_before = of.convolution.state(rows.sequences);
    mixers::State d_inputs_before = inputs_before;
    mixers::ShortConvGradients of_taps(of.convolution);
    mixers::backward(all<const float>(rows.projected), all<const float>(d_u), inputs_before,
                     d_inputs_before, {all<float>(d_projected), &of_taps}, RaggedBatch{starts},
                     of.convolution);
    gradient.set(taps_, of_taps.weight), gradient.set(taps_bias_, of_taps.bias);
    gradient.add_to(d_learned);
  }

 private:
  /// What is learned, as its operators take it.
  struct Learned {
    mixers::ShortConvolution convolution;
    mixers::SelectiveScan scan;
    Matrix to_states, to_dt;

    Learned(const MambaMixing& of, std::span<const double> learned)
        : convolution({.channels = of.channels_,
                       .width = d_conv,
                       .weight = of.parts_.floats(learned, of.taps_),
                       .bias = of.parts_.floats(learned, of.taps_bias_)}),
          scan({.d_inner = of.channels_,
                .d_state = d_state,
                .A_log = of.parts_.floats(learned, of.a_log_),
                .dt_bias = of.parts_.floats(learned, of.dt_bias_),
                .D = of.parts_.floats(learned, of.skip_)}),
          to_states(of.parts_.matrix(learned, of.to_states_, of.rank_ + 2 * d_state)),
          to_dt(of.parts_.matrix(learned, of.to_dt_, of.channels_)) {}
  };

  /// The channels that a matrix begins with, and B or C behind r.
  template <class F, class M>
  [[nodiscard]] TensorView<F> all(M& x) const {
    return columns<F>(x, 0, 1, channels_);
  }
  template <class F, class M>
  [[nodiscard]] TensorView<F> state_of(M& states, Index which) const {
    return columns<F>(states, rank_ + which * d_state, 1, d_state);
  }
  [[nodiscard]] mixers::ScanInputs inputs(const MixedRows& rows,
                                          const std::vector<Matrix>& kept) const {
    return {.u = all<const float>(kept[0]),
            .dt = all<const float>(kept[2]),
            .B = state_of<const float>(kept[1], 0),
            .C = state_of<const float>(kept[1], 1),
            .z = columns<const float>(rows.projected, channels_, 1, channels_)};
  }

  Index channels_, rank_;
  LearnedParts parts_;
  Index taps_ = 0, taps_bias_ = 0, to_states_ = 0, to_dt_ = 0, a_log_ = 0, dt_bias_ = 0, skip_ = 0;
};

[[nodiscard]] inline std::shared_ptr<const TokenMixing> mamba_mixing(const MixingPlace& at) {
  return std::make_shared<const MambaMixing>(at);
}

}  // namespace lab

POSENC_NAMESPACE_END
