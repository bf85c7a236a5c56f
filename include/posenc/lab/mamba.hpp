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
#include <posenc/lab/learned_convolution.hpp>
#include <posenc/lab/token_mixing.hpp>
#include <posenc/mixers/scan_backward.hpp>

POSENC_NAMESPACE_BEGIN

namespace lab {

class MambaMixing final : public TokenMixing {
 public:
  static constexpr Index d_state = 16;

  explicit MambaMixing(const MixingPlace& at)
      : channels_(4 * at.shape.width() / 3), rank_(mixers::Mamba::dt_rank(at.shape.width())),
        convolution_(parts_, channels_, at.seed() + 1) {
    const std::uint64_t seed = at.seed();
    const mixers::Mamba begins = mixers::Mamba::initial(channels_, seed, 1, d_state);
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
    LearnedConvolution::forward(of.convolution, rows, all<const float>(rows.projected),
                                all<float>(u), executor);
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

    convolution_.backward(of.convolution, rows, all<const float>(rows.projected),
                          all<const float>(d_u), all<float>(d_projected), gradient);
    gradient.add_to(d_learned);
  }

 private:
  /// What is learned, as its operators take it.
  struct Learned {
    mixers::ShortConvolution convolution;
    mixers::SelectiveScan scan;
    Matrix to_states, to_dt;

    Learned(const MambaMixing& of, std::span<const double> learned)
        : convolution(of.convolution_.of(of.parts_, learned)),
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
  LearnedConvolution convolution_;
  Index to_states_ = 0, to_dt_ = 0, a_log_ = 0, dt_bias_ = 0, skip_ = 0;
};

[[nodiscard]] inline std::shared_ptr<const TokenMixing> mamba_mixing(const MixingPlace& at) {
  return std::make_shared<const MambaMixing>(at);
}

}  // namespace lab

POSENC_NAMESPACE_END
