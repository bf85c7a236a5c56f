// SPDX-License-Identifier: MIT
//
// MixerMixing: a layer of a mixer of the frame of docs/mixers.md, with the queries, keys and values of attention.
//
// What it learns besides: decays by token as d_t = f(x_t A) B + b, of low rank (GLA and RWKV-6 have such a network; f
// is tanh in RWKV-6), the bonus, and weight and bias of the norm of each head behind it.
//
// Tokens of a window all pass a state that begins empty; what the last one leaves is not used.
#pragma once

#include <posenc/lab/layers.hpp>
#include <posenc/lab/learned_parts.hpp>
#include <posenc/lab/token_mixing.hpp>
#include <posenc/mixers/backward.hpp>
#include <posenc/mixers/head_norm_backward.hpp>
#include <posenc/mixers/retnet.hpp>
#include <posenc/rotate/backward.hpp>

#include <functional>
#include <optional>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// What MixerMixing makes a layer of.
struct MixerRecipe {
  /// The mixer with a bonus [heads][head_dim], where it has one.
  std::function<mixers::Mixer(const std::vector<float>& bonus)> mixer;
  std::vector<double> bonus{};  ///< as it begins; empty: none
  std::vector<double> decay{};  ///< b as it begins, [heads][decay width]; empty: no decay by token
  bool tanh = false;            ///< f
  double eps = 1e-5;            ///< of the norm behind
  bool centred = false;         ///< with a mean and a bias
  bool rotates = false;         ///< as RetNet
};

class MixerMixing final : public TokenMixing {
 public:
  static constexpr Index rank = 16;  ///< of A B, that of GLA

  MixerMixing(const ModelShape& shape, MixerRecipe recipe)
      : shape_(shape), recipe_(std::move(recipe)) {
    const Index used = recipe_.decay.empty() ? 0 : rank, decays = std::ssize(recipe_.decay);
    a_ = parts_.add(uniform(width() * used, 1 / std::sqrt(static_cast<double>(width())), 1));
    b_ = parts_.add(zeros(used * decays));  // as LoRA's begins
    decay_ = parts_.add(recipe_.decay);
    bonus_ = parts_.add(recipe_.bonus);
    weight_ = parts_.add(std::vector<double>(static_cast<std::size_t>(width()), 1));
    bias_ = parts_.add(zeros(recipe_.centred ? width() : 0));
    if (recipe_.rotates)
      rotation_.emplace(
          posenc::bind(mixers::RetNet{shape.heads, shape.head_dim, shape.head_dim}.rotation(),
                       {.num_heads = shape.heads}));
  }

  [[nodiscard]] Index num_learned() const override { return parts_.size(); }
  [[nodiscard]] std::vector<double> initial() const override { return parts_.initial(); }

  void forward(const MixedRows& rows, std::span<const double> learned, Matrix& out,
               std::vector<Matrix>& kept, const AnyExecutor& executor) const override {
    const Learned of(*this, learned);
    const mixers::Mixer mixer = recipe_.mixer(of.bonus);
    kept.resize(4);
    Matrix &turned = kept[0], &hidden = kept[1], &decay = kept[2], &raw = kept[3];
    const std::vector<Index> starts = rows.starts();
    if (rotation_) {
      turned = rows.projected.leftCols(2 * width());
      rotate(part<float>(turned, 0), part<float>(turned, 1), RaggedBatch{starts}, *rotation_);
    }
    if (!recipe_.decay.empty()) {
      product(rows.in, of.a, hidden);
      if (recipe_.tanh) hidden = hidden.array().tanh().matrix();
      product(hidden, of.b, decay);
      decay.rowwise() += of.decay;
    }
    raw.resize(rows.in.rows(), width());
    mixers::State state(mixer, rows.sequences);
    mixers::chunked(inputs(rows, turned, decay), part<float>(raw, 0), RaggedBatch{starts}, mixer,
                    state, {.executor = executor});
    out = raw;
    mixers::head_norm(part<float>(out, 0), norm(of));
  }

  void backward(const MixedRows& rows, std::span<const double> learned, const Matrix& d_out,
                const std::vector<Matrix>& kept, Matrix& d_projected, Matrix& d_in,
                std::span<double> d_learned) const override {
    const Learned of(*this, learned);
    const mixers::Mixer mixer = recipe_.mixer(of.bonus);
    const Matrix &turned = kept[0], &hidden = kept[1], &decay = kept[2], &raw = kept[3];
    const std::vector<Index> starts = rows.starts();
    LearnedGradient gradient(parts_);
    Matrix d_raw = d_out, d_decay(decay.rows(), decay.cols());
    mixers::head_norm_backward(part<const float>(raw, 0), norm(of), {}, part<const float>(d_out, 0),
                               {.x = part<float>(d_raw, 0),
                                .weight = gradient.part(weight_),
                                .bias = gradient.part(bias_)});
    d_projected.resize(rows.projected.rows(), 3 * width());
    mixers::State before(mixer, rows.sequences), d_state = before;
    mixers::RecurrenceGradients of_mixer(mixer);
    mixers::Gradients to{.q = part<float>(d_projected, 0),
                         .k = part<float>(d_projected, 1),
                         .v = part<float>(d_projected, 2),
                         .learned = &of_mixer};
    if (decay.size() > 0) to.decay = by_head<float>(d_decay);
    mixers::backward(inputs(rows, turned, decay), part<const float>(d_raw, 0), before, d_state, to,
                     RaggedBatch{starts}, mixer);
    if (rotation_) rotate_backward(to.q, to.k, RaggedBatch{starts}, *rotation_);
    gradient.set(bonus_, of_mixer.bonus);
    d_in.setZero(rows.in.rows(), rows.in.cols());
    if (decay.size() > 0) {
      Matrix d_a, d_b, d_hidden;
      product(Factor(hidden).transposed(), d_decay, d_b);
      product(d_decay, Factor(of.b).transposed(), d_hidden);
      if (recipe_.tanh) d_hidden.array() *= 1 - hidden.array().square();
      product(Factor(rows.in).transposed(), d_hidden, d_a);
      product(d_hidden, Factor(of.a).transposed(), d_in);
      gradient.set(a_, d_a), gradient.set(b_, d_b);
      for (Index i = 0; i < d_decay.cols(); ++i)
        gradient.part(decay_)[static_cast<std::size_t>(i)] = d_decay.col(i).cast<double>().sum();
    }
    gradient.add_to(d_learned);
  }

 private:
  /// What is learned, as floats and matrices.
  struct Learned {
    Matrix a, b;
    Eigen::RowVectorXf decay;
    std::vector<float> bonus, weight, bias;

    Learned(const MixerMixing& of, std::span<const double> learned) {
      const Index decays = std::ssize(of.recipe_.decay);
      a = of.parts_.matrix(learned, of.a_, decays > 0 ? rank : 0);
      b = of.parts_.matrix(learned, of.b_, decays);
      const std::vector<float> at_first = of.parts_.floats(learned, of.decay_);
      decay = Eigen::Map<const Eigen::RowVectorXf>(at_first.data(), decays);
      bonus = of.parts_.floats(learned, of.bonus_);
      weight = of.parts_.floats(learned, of.weight_), bias = of.parts_.floats(learned, of.bias_);
    }
  };

  [[nodiscard]] Index width() const { return shape_.width(); }
  [[nodiscard]] static std::vector<double> zeros(Index n) {
    return std::vector<double>(static_cast<std::size_t>(n));
  }
  [[nodiscard]] mixers::HeadNorm norm(const Learned& of) const {
    return {.eps = recipe_.eps, .centred = recipe_.centred, .weight = of.weight, .bias = of.bias};
  }
  /// One of the parts beside each other in rows of heads.
  template <class F, class M>
  [[nodiscard]] TensorView<F> part(M& x, Index which) const {
    return columns<F>(x, which * width(), shape_.heads, shape_.head_dim);
  }
  template <class F, class M>
  [[nodiscard]] TensorView<F> by_head(M& x) const {
    return columns<F>(x, 0, shape_.heads, x.cols() / shape_.heads);
  }
  [[nodiscard]] mixers::Inputs inputs(const MixedRows& rows, const Matrix& turned,
                                      const Matrix& decay) const {
    const Matrix& of = rotation_ ? turned : rows.projected;
    mixers::Inputs in{.q = part<const float>(of, 0),
                      .k = part<const float>(of, 1),
                      .v = part<const float>(rows.projected, 2)};
    if (decay.size() > 0) in.decay = by_head<const float>(decay);
    return in;
  }

  ModelShape shape_;
  MixerRecipe recipe_;
  LearnedParts parts_;
  Index a_ = 0, b_ = 0, decay_ = 0, bonus_ = 0, weight_ = 0, bias_ = 0;
  std::optional<Bound<Encoding<RoPE<Interleaved>, FrequencyTable>>> rotation_;
};

}  // namespace lab

POSENC_NAMESPACE_END
