// SPDX-License-Identifier: MIT
//
// Pass: one pass of the lab's transformer over some sequences, and its gradient.
//
//   x = embedding[token] (+ positions)
//   for each layer:  x += attention(norm(x) qkv) out,  x += gelu(norm(x) up) down       or a TokenMixing for attention
//   logits = norm(x) embedding^T
//
// A decoder with norms before each part, GELU, no biases and tied embeddings (GPT-2's shape with RMSNorm).
// Sequences of a pass have the same length and begin at position 0.
#pragma once

#include <posenc/attention/backward/ragged.hpp>
#include <posenc/attention/ragged.hpp>
#include <posenc/lab/layers.hpp>
#include <posenc/lab/scheme.hpp>

#include <algorithm>
#include <memory>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// Tokens of sequences, one sequence after another.
struct TokenRows {
  Index sequences = 0, length = 0;
  std::span<const std::uint8_t> inputs{}, targets{};

  [[nodiscard]] Index tokens() const { return sequences * length; }
  [[nodiscard]] TokenRows slice(Index first, Index count) const {
    const auto part = [&](std::span<const std::uint8_t> all) {
      return all.subspan(static_cast<std::size_t>(first * length),
                         static_cast<std::size_t>(count * length));
    };
    return {count, length, part(inputs), part(targets)};
  }
};

class Pass {
 public:
  /// What a gradient needs is kept in memory, layer by layer, or not.
  explicit Pass(bool keep) : keep_(keep) {}

  /// Writes -log p(target) of every token, in nats.
  void forward(const Weights& weights, const BoundScheme& scheme, const TokenRows& rows,
               std::span<float> losses, const AnyExecutor& executor = {}) {
    const ModelShape& shape = weights.shape();
    const WeightViews<const float> w = weights.view();
    if (keep_) scheme.check_differentiable();
    keys_read_ = {};
    layers_.resize(static_cast<std::size_t>(keep_ ? shape.layers : 1));
    starts_.resize(static_cast<std::size_t>(rows.sequences) + 1);
    for (Index i = 0; i <= rows.sequences; ++i)
      starts_[static_cast<std::size_t>(i)] = i * rows.length;

    x_.resize(rows.tokens(), shape.width());
    for (Index i = 0; i < rows.tokens(); ++i)
      x_.row(i) = w.embedding().row(rows.inputs[static_cast<std::size_t>(i)]);
    if (scheme.added().add) scheme.added().add(by_position(x_, rows), 0);
    for (Index l = 0; l < shape.layers; ++l) {
      Layer& at = layers_[static_cast<std::size_t>(keep_ ? l : 0)];
      at.x = x_;
      rms_norm(at.x, w.attention_norm(l), at.attention_in, at.attention_inverse);
      const TokenMixing* const mixing = scheme.mixing(l);
      const MixingWidths widths = widths_of(mixing, shape);
      product(at.attention_in, w.mixing_in(l, widths.in), at.projected);
      if (mixing) {
        mixing->forward({at.attention_in, at.projected, rows.sequences, rows.length},
                        scheme.learned_by(l), at.attended, at.kept, executor);
      } else if (const AttentionRead* read = scheme.read()) {
        at.attended.resize(rows.tokens(), shape.width());
        for (Index i = 0; i < rows.tokens(); i += rows.length) {
          const auto part = [&](Index which) {
            return third<const float>(at.projected, which, shape).slice(i, rows.length);
          };
          keys_read_ +=
              read->attend(scheme.layer(l), part(0), part(1), part(2),
                           third<float>(at.attended, 0, shape).slice(i, rows.length), executor);
        }
      } else {
        at.attended.resize(rows.tokens(), shape.width());
        at.lse.resize(static_cast<std::size_t>(rows.tokens() * shape.heads));
        attention(third<const float>(at.projected, 0, shape),
                  third<const float>(at.projected, 1, shape),
                  third<const float>(at.projected, 2, shape), third<float>(at.attended, 0, shape),
                  RaggedBatch{starts_}, scheme.layer(l), {.lse = at.lse, .executor = executor});
      }
      add_product(at.attended, w.mixing_out(l, widths.out), x_);
      at.middle = x_;
      rms_norm(at.middle, w.mlp_norm(l), at.mlp_in, at.mlp_inverse);
      product(at.mlp_in, w.up(l), wide_);
      gelu(wide_, at.active, at.slope);
      add_product(at.active, w.down(l), x_);
    }
    rms_norm(x_, w.last_norm(), last_in_, last_inverse_);
    product(last_in_, Factor(w.embedding()).transposed(), logits_);
    cross_entropy(logits_, rows.targets, losses, log_sum_);
  }

  /// [tokens][vocabulary], until backward() uses their memory.
  [[nodiscard]] const Matrix& logits() const { return logits_; }
  /// By the layers that chose keys, in the last forward().
  [[nodiscard]] const KeysRead& keys_read() const { return keys_read_; }

  /// Writes the gradient of sum(loss_weights * losses) of the last forward(): of the weights, and of what the
  /// scheme learns. The pass has to keep.
  void backward(const Weights& weights, const BoundScheme& scheme, const TokenRows& rows,
                std::span<const float> loss_weights, Weights& gradient,
                std::span<double> learned_gradient) {
    const ModelShape& shape = weights.shape();
    const WeightViews<const float> w = weights.view();
    const WeightViews<float> g = gradient.view();
    std::vector<ParameterGradients> learned;
    std::fill(learned_gradient.begin(), learned_gradient.end(), 0.0);
    if (scheme.learns())
      for (const AnyBound& kind : scheme.kinds()) learned.emplace_back(kind);

    cross_entropy_backward(logits_, rows.targets, loss_weights, log_sum_);
    product(logits_, w.embedding(), d_in_);
    product(Factor(logits_).transposed(), last_in_, g.embedding());
    dx_.setZero(rows.tokens(), shape.width());
    rms_norm_backward(x_, w.last_norm(), last_inverse_, d_in_, dx_, g.last_norm());
    for (Index l = shape.layers; l-- > 0;) {
      Layer& at = layers_[static_cast<std::size_t>(l)];
      product(Factor(at.active).transposed(), dx_, g.down(l));
      product(dx_, Factor(w.down(l)).transposed(), wide_);
      gelu_backward(at.slope, wide_);
      product(Factor(at.mlp_in).transposed(), wide_, g.up(l));
      product(wide_, Factor(w.up(l)).transposed(), d_in_);
      rms_norm_backward(at.middle, w.mlp_norm(l), at.mlp_inverse, d_in_, dx_, g.mlp_norm(l));

      const TokenMixing* const mixing = scheme.mixing(l);
      const MixingWidths widths = widths_of(mixing, shape);
      product(Factor(at.attended).transposed(), dx_, g.mixing_out(l, widths.out));
      product(dx_, Factor(w.mixing_out(l, widths.out)).transposed(), d_in_);
      d_projected_.resize(rows.tokens(), widths.in);
      if (mixing)
        mixing->backward({at.attention_in, at.projected, rows.sequences, rows.length},
                         scheme.learned_by(l), d_in_, at.kept, d_projected_, d_mixed_,
                         scheme.part_of_mixing(learned_gradient, l));
      else
        attention_backward<float>(
            {third<const float>(at.projected, 0, shape), third<const float>(at.projected, 1, shape),
             third<const float>(at.projected, 2, shape), third<const float>(at.attended, 0, shape),
             at.lse},
            third<const float>(d_in_, 0, shape),
            {third<float>(d_projected_, 0, shape), third<float>(d_projected_, 1, shape),
             third<float>(d_projected_, 2, shape),
             scheme.learns() ? &learned[scheme.kind_of(l)] : nullptr},
            RaggedBatch{starts_}, scheme.layer(l));
      product(Factor(at.attention_in).transposed(), d_projected_, g.mixing_in(l, widths.in));
      product(d_projected_, Factor(w.mixing_in(l, widths.in)).transposed(), d_in_);
      if (mixing) d_in_ += d_mixed_;
      rms_norm_backward(at.x, w.attention_norm(l), at.attention_inverse, d_in_, dx_,
                        g.attention_norm(l));
    }
    for (Index i = 0; i < rows.tokens(); ++i)
      g.embedding().row(rows.inputs[static_cast<std::size_t>(i)]) += dx_.row(i);

    const auto added = static_cast<std::size_t>(scheme.added().num_learned);
    if (added > 0)
      scheme.added().gradient(by_position(dx_, rows), 0, learned_gradient.first(added));
    std::span<double> rest = learned_gradient.subspan(std::min(added, learned_gradient.size()));
    for (const ParameterGradients& kind : learned) {
      for (std::size_t i = 0; i < kind.values().size(); ++i) rest[i] += kind.values()[i];
      rest = rest.subspan(kind.values().size());
    }
  }

 private:
  struct Layer {
    Matrix x, attention_in, projected, attended, middle, mlp_in, active, slope;
    Vector attention_inverse, mlp_inverse;
    std::vector<float> lse;
    std::vector<Matrix> kept;  ///< of a mixing
  };

  [[nodiscard]] static MixingWidths widths_of(const TokenMixing* mixing, const ModelShape& shape) {
    if (!mixing) return MixingWidths::of_attention(shape);
    const MixingWidths widths = mixing->widths(shape);
    Problems problems;
    problems.require(widths.in >= 1 && widths.out >= 1 &&
                         widths.in + widths.out <= 4 * shape.width(),
                     "what mixes tokens must have at least one column before and behind it, and ",
                     4 * shape.width(), " in all, got ", widths.in, " and ", widths.out, ".");
    problems.raise_if_any("posenc::lab::Pass");
    return widths;
  }
  /// Queries, keys or values among the columns of qkv, or the heads of a matrix that has nothing else.
  template <class F, class M>
  static TensorView<F> third(M& all, Index which, const ModelShape& shape) {
    return columns<F>(all, which * shape.width(), shape.heads, shape.head_dim);
  }
  /// Sequences side by side, so that those of one position share its vector.
  static TensorView<float> by_position(Matrix& x, const TokenRows& rows) {
    return {x.data(), rows.length, rows.sequences, x.cols(), x.cols(), rows.length * x.cols()};
  }

  bool keep_;
  std::vector<Index> starts_;
  std::vector<Layer> layers_;
  Matrix x_, last_in_, logits_, wide_, dx_, d_in_, d_projected_, d_mixed_;
  Vector last_inverse_, log_sum_;
  KeysRead keys_read_;
};

}  // namespace lab

POSENC_NAMESPACE_END
