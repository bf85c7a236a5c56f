// SPDX-License-Identifier: MIT
//
// Mamba2Mixing: a layer of Mamba-2 (Dao and Gu, arXiv 2405.21060; state-spaces/mamba, modules/mamba2.py).
//
//   [z, x, B, C, dt] = x W_in            [x, B, C] = silu(conv([x, B, C])), a causal one of width 4 of each channel
//   y = Mamba2 of x, dt, B, C, with D    x += rms(y silu(z)) w W_out, the norm over all channels
//
// W_in and W_out lie where the weights of attention do: x and z have its heads and its width, and B and C, which all
// heads share, what is left beside dt: (width - heads) / 2 channels each. The published block is twice as wide, with
// 128 channels for B and C. It begins as published.
#pragma once

#include <posenc/lab/learned_convolution.hpp>
#include <posenc/lab/token_mixing.hpp>
#include <posenc/mixers/backward.hpp>
#include <posenc/mixers/head_norm_backward.hpp>
#include <posenc/mixers/mamba2.hpp>

POSENC_NAMESPACE_BEGIN

namespace lab {

class Mamba2Mixing final : public TokenMixing {
 public:
  explicit Mamba2Mixing(const MixingPlace& at)
      : shape_(at.shape), states_((at.shape.width() - at.shape.heads) / 2),
        convolution_(parts_, convolved(), at.seed() + 1) {
    Problems problems;
    problems.require(
        states_ >= 1,
        "B and C have (width - heads) / 2 channels each, which must be at least 1, got ",
        shape_.heads, " heads of ", shape_.head_dim, ".");
    problems.raise_if_any("posenc::lab::Mamba2Mixing");
    const mixers::Mamba2 begins =
        mixers::Mamba2::initial(width(), at.seed(), 1, shape_.head_dim, states_);
    a_log_ = parts_.add(begins.A_log);
    dt_bias_ = parts_.add(begins.dt_bias);
    skip_ = parts_.add(begins.D);
    weight_ = parts_.add(std::vector<double>(static_cast<std::size_t>(width()), 1));
  }

  [[nodiscard]] MixingWidths widths(const ModelShape&) const override {
    return {width() + convolved() + shape_.heads, width()};
  }
  [[nodiscard]] Index num_learned() const override { return parts_.size(); }
  [[nodiscard]] std::vector<double> initial() const override { return parts_.initial(); }

  void forward(const MixedRows& rows, std::span<const double> learned, Matrix& out,
               std::vector<Matrix>& kept, const AnyExecutor& executor) const override {
    const Learned of(*this, learned);
    kept.resize(2);
    Matrix &xbc = kept[0], &raw = kept[1];
    const std::vector<Index> starts = rows.starts();
    xbc.resize(rows.in.rows(), convolved()), raw.resize(rows.in.rows(), width());
    LearnedConvolution::forward(of.convolution, rows, to_convolve<const float>(rows.projected),
                                columns<float>(xbc, 0, 1, convolved()), executor);
    mixers::State state(of.mixer, rows.sequences);
    mixers::chunked(inputs(rows, xbc), heads<float>(raw, 0), RaggedBatch{starts}, of.mixer, state,
                    {.executor = executor});
    out = raw;
    mixers::head_norm(heads<float>(out, 0), norm(of), heads<const float>(rows.projected, 0));
  }

  void backward(const MixedRows& rows, std::span<const double> learned, const Matrix& d_out,
                const std::vector<Matrix>& kept, Matrix& d_projected, Matrix& d_in,
                std::span<double> d_learned) const override {
    const Learned of(*this, learned);
    const Matrix &xbc = kept[0], &raw = kept[1];
    const std::vector<Index> starts = rows.starts();
    LearnedGradient gradient(parts_);
    d_projected.resize(rows.in.rows(), rows.projected.cols());
    d_in.setZero(rows.in.rows(), rows.in.cols());
    Matrix d_raw(raw.rows(), raw.cols()), d_xbc(xbc.rows(), xbc.cols());
    mixers::head_norm_backward(heads<const float>(raw, 0), norm(of),
                               heads<const float>(rows.projected, 0), heads<const float>(d_out, 0),
                               {.x = heads<float>(d_raw, 0),
                                .gate = heads<float>(d_projected, 0),
                                .weight = gradient.part(weight_)});
    const mixers::State before(of.mixer, rows.sequences);
    mixers::State d_state = before;
    mixers::RecurrenceGradients of_mixer(of.mixer);
    mixers::backward(inputs(rows, xbc), heads<const float>(d_raw, 0), before, d_state,
                     {.q = state_of<float>(d_xbc, 1),
                      .k = state_of<float>(d_xbc, 0),
                      .v = heads<float>(d_xbc, 0),
                      .decay = dt<float>(d_projected),
                      .learned = &of_mixer},
                     RaggedBatch{starts}, of.mixer);
    for (std::size_t h = 0; h < of_mixer.biases.size(); ++h)  // the rate is -exp(A_log)
      gradient.part(a_log_)[h] =
          of_mixer.rates[h] * static_cast<double>(of.mixer.recurrence().rates[h]);
    gradient.set(dt_bias_, of_mixer.biases), gradient.set(skip_, of_mixer.skip);

    convolution_.backward(of.convolution, rows, to_convolve<const float>(rows.projected),
                          columns<const float>(d_xbc, 0, 1, convolved()),
                          to_convolve<float>(d_projected), gradient);
    gradient.add_to(d_learned);
  }

 private:
  /// What is learned, as its operators take it.
  struct Learned {
    mixers::ShortConvolution convolution;
    mixers::Mixer mixer;
    std::vector<float> weight;

    Learned(const Mamba2Mixing& of, std::span<const double> learned)
        : convolution(of.convolution_.of(of.parts_, learned)),
          mixer(mixers::Mamba2{.nheads = of.shape_.heads,
                               .headdim = of.shape_.head_dim,
                               .d_state = of.states_,
                               .A_log = of.parts_.floats(learned, of.a_log_),
                               .dt_bias = of.parts_.floats(learned, of.dt_bias_),
                               .D = of.parts_.floats(learned, of.skip_)}),
          weight(of.parts_.floats(learned, of.weight_)) {}
  };

  [[nodiscard]] Index width() const { return shape_.width(); }
  /// Columns of x, B and C.
  [[nodiscard]] Index convolved() const { return width() + 2 * states_; }
  [[nodiscard]] mixers::HeadNorm norm(const Learned& of) const {
    return {.eps = 1e-5, .heads = shape_.heads, .weight = of.weight, .gate_first = true};
  }
  /// z, x, B or C, and dt among the columns of what they are parts of.
  template <class F, class M>
  [[nodiscard]] TensorView<F> heads(M& x, Index first) const {
    return columns<F>(x, first, shape_.heads, shape_.head_dim);
  }
  template <class F, class M>
  [[nodiscard]] TensorView<F> state_of(M& xbc, Index which) const {
    return columns<F>(xbc, width() + which * states_, 1, states_);
  }
  template <class F, class M>
  [[nodiscard]] TensorView<F> to_convolve(M& projected) const {
    return columns<F>(projected, width(), 1, convolved());
  }
  template <class F, class M>
  [[nodiscard]] TensorView<F> dt(M& projected) const {
    return columns<F>(projected, width() + convolved(), shape_.heads, 1);
  }
  [[nodiscard]] mixers::Inputs inputs(const MixedRows& rows, const Matrix& xbc) const {
    return mixers::Mamba2::inputs(heads<const float>(xbc, 0), dt<const float>(rows.projected),
                                  state_of<const float>(xbc, 0), state_of<const float>(xbc, 1));
  }

  ModelShape shape_;
  Index states_;
  LearnedParts parts_;
  LearnedConvolution convolution_;
  Index a_log_ = 0, dt_bias_ = 0, skip_ = 0, weight_ = 0;
};

[[nodiscard]] inline std::shared_ptr<const TokenMixing> mamba2_mixing(const MixingPlace& at) {
  return std::make_shared<const Mamba2Mixing>(at);
}

}  // namespace lab

POSENC_NAMESPACE_END
