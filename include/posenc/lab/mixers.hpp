// SPDX-License-Identifier: MIT
//
// Sequence mixers as layers of the lab's transformer, in place of attention or between layers of it:
//
//   Scheme("RetNet", causal).mixing(all_layers(shape, retnet_mixing))
//   Scheme("hybrid", rope | Causal{}).mixing(some_layers(shape, gla_mixing, 3))        // every third has attention
//
// A layer has the same queries, keys and values as attention, and what it learns besides: decays by token as
// d_t = f(x_t A) B + b, of low rank (GLA and RWKV-6 have such a network; f is tanh in RWKV-6), the bonus, and weight and
// bias of the norm of each head behind it. Gates of outputs and token shifts of the published blocks are not here, so that
// schemes differ in how they mix tokens and in little else. RetNet rotates queries and keys (RetNet::rotation()).
//
// Tokens of a window all pass a state that begins empty; what the last one leaves is not used.
#pragma once

#include <posenc/lab/layers.hpp>
#include <posenc/lab/token_mixing.hpp>
#include <posenc/mixers/backward.hpp>
#include <posenc/mixers/gla.hpp>
#include <posenc/mixers/head_norm_backward.hpp>
#include <posenc/mixers/retnet.hpp>
#include <posenc/mixers/rwkv.hpp>
#include <posenc/rotate/backward.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// Where a mixer stands.
struct MixingPlace {
  ModelShape shape;
  Index layer = 0;
};

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
  /// What is learned is kept in so many parts of itself, which undoes the default of OptimizerOptions::learned_rate:
  /// here are matrices, which are to move as weights do.
  static constexpr double unit = 0.05;

  MixerMixing(const ModelShape& shape, MixerRecipe recipe)
      : shape_(shape), recipe_(std::move(recipe)) {
    if (recipe_.rotates)
      rotation_.emplace(
          posenc::bind(mixers::RetNet{shape.heads, shape.head_dim, shape.head_dim}.rotation(),
                       {.num_heads = shape.heads}));
  }

  [[nodiscard]] Index num_learned() const override { return Parts(*this).size; }
  [[nodiscard]] std::vector<double> initial() const override {
    const Parts at(*this);
    std::vector<double> all(static_cast<std::size_t>(at.size), 0.0);
    SeededRandom random(1);  // A; B begins with zeros, as LoRA's does
    for (Index i = 0; i < at.b_first - at.a_first; ++i)
      all[static_cast<std::size_t>(at.a_first + i)] = random.real(-1, 1) / std::sqrt(width());
    std::ranges::copy(recipe_.decay, all.begin() + at.decay_first);
    std::ranges::copy(recipe_.bonus, all.begin() + at.bonus_first);
    std::fill_n(all.begin() + at.weight_first, width(), 1.0);
    for (double& x : all) x /= unit;
    return all;
  }

  void forward(const MixedRows& rows, std::span<const double> learned, Matrix& out,
               std::vector<Matrix>& kept, const AnyExecutor& executor) const override {
    const Learned of(*this, learned);
    const mixers::Mixer mixer = recipe_.mixer(of.bonus);
    kept.resize(4);
    Matrix &turned = kept[0], &hidden = kept[1], &decay = kept[2], &raw = kept[3];
    const std::vector<Index> starts = starts_of(rows);
    if (rotation_) {
      turned = rows.qkv.leftCols(2 * width());
      rotate(heads<float>(turned, 0, 2), heads<float>(turned, 1, 2), RaggedBatch{starts},
             *rotation_);
    }
    if (!recipe_.decay.empty()) {
      product(rows.in, of.a, hidden);
      if (recipe_.tanh) hidden = hidden.array().tanh().matrix();
      product(hidden, of.b, decay);
      decay.rowwise() += of.decay;
    }
    raw.resize(rows.in.rows(), width());
    mixers::State state(mixer, rows.sequences);
    mixers::chunked(inputs(rows, turned, decay), heads<float>(raw, 0, 1), RaggedBatch{starts},
                    mixer, state, {.executor = executor});
    out = raw;
    mixers::head_norm(heads<float>(out, 0, 1), norm(of));
  }

  void backward(const MixedRows& rows, std::span<const double> learned, const Matrix& d_out,
                const std::vector<Matrix>& kept, Matrix& d_qkv, Matrix& d_in,
                std::span<double> d_learned) const override {
    const Learned of(*this, learned);
    const Parts at(*this);
    const mixers::Mixer mixer = recipe_.mixer(of.bonus);
    const Matrix &turned = kept[0], &hidden = kept[1], &decay = kept[2], &raw = kept[3];
    const std::vector<Index> starts = starts_of(rows);
    std::vector<double> gradient(learned.size(), 0.0);
    const auto part = [&](Index first, Index count) {
      return std::span(gradient).subspan(static_cast<std::size_t>(first),
                                         static_cast<std::size_t>(count));
    };
    Matrix d_raw = d_out, d_decay(decay.rows(), decay.cols());
    mixers::head_norm_backward(
        heads<const float>(raw, 0, 1), norm(of), {}, heads<const float>(d_out, 0, 1),
        {.x = heads<float>(d_raw, 0, 1),
         .weight = part(at.weight_first, width()),
         .bias = recipe_.centred ? part(at.bias_first, width()) : std::span<double>()});
    d_qkv.resize(rows.qkv.rows(), 3 * width());
    mixers::State before(mixer, rows.sequences), d_state = before;
    mixers::RecurrenceGradients of_mixer(mixer);
    mixers::Gradients to{.q = heads<float>(d_qkv, 0, 3),
                         .k = heads<float>(d_qkv, 1, 3),
                         .v = heads<float>(d_qkv, 2, 3),
                         .learned = &of_mixer};
    if (decay.size() > 0) to.decay = by_head<float>(d_decay);
    mixers::backward(inputs(rows, turned, decay), heads<const float>(d_raw, 0, 1), before, d_state,
                     to, RaggedBatch{starts}, mixer);
    if (rotation_) rotate_backward(to.q, to.k, RaggedBatch{starts}, *rotation_);
    std::ranges::copy(of_mixer.bonus, part(at.bonus_first, std::ssize(of_mixer.bonus)).begin());
    d_in.setZero(rows.in.rows(), rows.in.cols());
    if (decay.size() > 0) {
      Matrix d_a, d_b, d_hidden;
      product(Factor(hidden).transposed(), d_decay, d_b);
      product(d_decay, Factor(of.b).transposed(), d_hidden);
      if (recipe_.tanh) d_hidden.array() *= 1 - hidden.array().square();
      product(Factor(rows.in).transposed(), d_hidden, d_a);
      product(d_hidden, Factor(of.a).transposed(), d_in);
      std::copy_n(d_a.data(), d_a.size(), gradient.begin() + at.a_first);
      std::copy_n(d_b.data(), d_b.size(), gradient.begin() + at.b_first);
      for (Index i = 0; i < d_decay.cols(); ++i)
        gradient[static_cast<std::size_t>(at.decay_first + i)] =
            d_decay.col(i).cast<double>().sum();
    }
    for (std::size_t i = 0; i < gradient.size(); ++i) d_learned[i] += unit * gradient[i];
  }

 private:
  /// Where each part of what is learned begins.
  struct Parts {
    Index a_first = 0, b_first, decay_first, bonus_first, weight_first, bias_first, size;
    explicit Parts(const MixerMixing& of) {
      const Index decays = std::ssize(of.recipe_.decay), used = decays > 0 ? rank : 0;
      b_first = of.width() * used;
      decay_first = b_first + used * decays;
      bonus_first = decay_first + decays;
      weight_first = bonus_first + std::ssize(of.recipe_.bonus);
      bias_first = weight_first + of.width();
      size = bias_first + (of.recipe_.centred ? of.width() : 0);
    }
  };
  /// The same as floats and matrices.
  struct Learned {
    Matrix a, b;
    Eigen::RowVectorXf decay;
    std::vector<float> bonus, weight, bias;

    Learned(const MixerMixing& of, std::span<const double> learned) {
      const Parts at(of);
      const auto floats = [&](Index first, Index last) {
        std::vector<float> some;
        for (Index i = first; i < last; ++i)
          some.push_back(static_cast<float>(unit * learned[static_cast<std::size_t>(i)]));
        return some;
      };
      const auto matrix = [&](Index first, Index rows, Index columns) {
        const std::vector<float> some = floats(first, first + rows * columns);
        return Matrix(ConstMatrixView(some.data(), rows, columns));
      };
      const Index decays = std::ssize(of.recipe_.decay), used = decays > 0 ? rank : 0;
      a = matrix(at.a_first, of.width(), used), b = matrix(at.b_first, used, decays);
      decay = matrix(at.decay_first, 1, decays);
      bonus = floats(at.bonus_first, at.weight_first);
      weight = floats(at.weight_first, at.bias_first), bias = floats(at.bias_first, at.size);
    }
  };

  [[nodiscard]] Index width() const { return shape_.width(); }
  [[nodiscard]] mixers::HeadNorm norm(const Learned& of) const {
    return {.eps = recipe_.eps, .centred = recipe_.centred, .weight = of.weight, .bias = of.bias};
  }
  [[nodiscard]] static std::vector<Index> starts_of(const MixedRows& rows) {
    std::vector<Index> starts;
    for (Index i = 0; i <= rows.sequences; ++i) starts.push_back(i * rows.length);
    return starts;
  }
  /// One of the `parts` beside each other in rows of heads.
  template <class F, class M>
  [[nodiscard]] TensorView<F> heads(M& x, Index which, Index parts) const {
    return {x.data() + which * width(),
            x.rows(),
            shape_.heads,
            shape_.head_dim,
            parts * width(),
            shape_.head_dim};
  }
  template <class F, class M>
  [[nodiscard]] TensorView<F> by_head(M& x) const {
    return {x.data(), x.rows(), shape_.heads, x.cols() / shape_.heads};
  }
  [[nodiscard]] mixers::Inputs inputs(const MixedRows& rows, const Matrix& turned,
                                      const Matrix& decay) const {
    const auto query_or_key = [&](Index which) {
      return rotation_ ? heads<const float>(turned, which, 2)
                       : heads<const float>(rows.qkv, which, 3);
    };
    mixers::Inputs in{
        .q = query_or_key(0), .k = query_or_key(1), .v = heads<const float>(rows.qkv, 2, 3)};
    if (decay.size() > 0) in.decay = by_head<const float>(decay);
    return in;
  }

  ModelShape shape_;
  MixerRecipe recipe_;
  std::optional<Bound<Encoding<RoPE<Interleaved>, FrequencyTable>>> rotation_;
};

/// RetNet: constant decays, rotation, a norm without a mean.
[[nodiscard]] inline MixerRecipe retnet_mixing(const MixingPlace& at) {
  return {.mixer =
              [shape = at.shape](const std::vector<float>&) {
                return mixers::Mixer(mixers::RetNet{shape.heads, shape.head_dim, shape.head_dim});
              },
          .eps = 1e-6,
          .rotates = true};
}
/// GLA: a decay of each channel by token, which begins as 1/2^(1/16).
[[nodiscard]] inline MixerRecipe gla_mixing(const MixingPlace& at) {
  return {.mixer =
              [shape = at.shape](const std::vector<float>&) {
                return mixers::Mixer(mixers::GLA{.num_heads = shape.heads,
                                                 .key_dim = shape.head_dim,
                                                 .value_dim = shape.head_dim});
              },
          .decay = std::vector<double>(static_cast<std::size_t>(at.shape.width()), 0.0)};
}
/// RWKV-6: a decay of each channel by token and a bonus, which begin as its layers do, and a norm with a mean.
[[nodiscard]] inline MixerRecipe rwkv6_mixing(const MixingPlace& at) {
  const mixers::rwkv::Initial initial(at.shape.width(), at.layer, at.shape.layers);
  return {.mixer =
              [shape = at.shape](const std::vector<float>& bonus) {
                return mixers::Mixer(mixers::RWKV6{shape.heads, shape.head_dim, bonus});
              },
          .bonus = {initial.time_faaaa.begin(), initial.time_faaaa.end()},
          .decay = {initial.time_decay.begin(), initial.time_decay.end()},
          .tanh = true,
          .eps = 64e-5,
          .centred = true};
}

using MakeMixing = MixerRecipe (*)(const MixingPlace& at);

/// The same kind of mixer in all layers but each `period`th, from the first on, which have attention.
[[nodiscard]] inline Mixings some_layers(const ModelShape& shape, MakeMixing make, Index period) {
  Problems problems;
  problems.require(period >= 1, "the period of the layers of attention must be positive, got ",
                   period, ".");
  problems.raise_if_any("posenc::lab::some_layers");
  Mixings layers;
  for (Index l = 0; l < shape.layers; ++l)
    layers.push_back((l + 1) % period == 0
                         ? nullptr
                         : std::make_shared<const MixerMixing>(shape, make({shape, l})));
  return layers;
}
[[nodiscard]] inline Mixings all_layers(const ModelShape& shape, MakeMixing make) {
  return some_layers(shape, make, shape.layers + 1);
}

}  // namespace lab

POSENC_NAMESPACE_END
