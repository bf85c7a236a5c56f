// SPDX-License-Identifier: MIT
//
// The weights of the lab's transformer: one array, seen as matrices. Gradients and the moments of an
// optimiser have the same shape, so they are the same type.
//
//   embedding [vocabulary][width], also the output's
//   per layer: attention_norm [width], qkv [width][3 width], out [width][width],
//              mlp_norm [width], up [width][mlp], down [mlp][width]
//   last_norm [width]
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/schedule/random.hpp>

#include <Eigen/Core>

#include <cmath>
#include <numbers>
#include <span>
#include <type_traits>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace lab {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixView = Eigen::Map<Matrix>;
using ConstMatrixView = Eigen::Map<const Matrix>;

struct ModelShape {
  Index layers = 3, heads = 4, head_dim = 32;
  Index mlp_ratio = 4;
  Index vocabulary = 256;

  [[nodiscard]] Index width() const { return heads * head_dim; }
  [[nodiscard]] Index mlp() const { return mlp_ratio * width(); }
  [[nodiscard]] Index layer_size() const { return width() * (2 + 4 * width() + 2 * mlp()); }
  [[nodiscard]] Index num_weights() const {
    return vocabulary * width() + layers * layer_size() + width();
  }
  void check(Problems& problems) const {
    const auto within = [&](const char* what, Index value, Index most) {
      problems.require(value >= 1 && value <= most, what, " must lie within [1, ", most, "], got ",
                       value, ".");
    };
    within("layers", layers, 1024);
    within("heads", heads, 1024);
    within("head_dim", head_dim, 1024);
    within("mlp_ratio", mlp_ratio, 64);
    within("vocabulary", vocabulary, 256);
    if (problems.empty())
      problems.require(width() <= 8192 && num_weights() <= Index{1} << 31, "the model would have ",
                       width(), " channels and ", num_weights(),
                       " weights; the lab takes 8192 and 2^31.");
  }
  bool operator==(const ModelShape&) const = default;
};

/// Weights of type float or const float as matrices.
template <class F>
class WeightViews {
 public:
  using View = Eigen::Map<std::conditional_t<std::is_const_v<F>, const Matrix, Matrix>>;

  WeightViews(F* data, const ModelShape& shape) : data_(data), shape_(shape) {}

  [[nodiscard]] View embedding() const { return at(0, shape_.vocabulary, width()); }
  [[nodiscard]] View attention_norm(Index l) const { return at(layer(l), 1, width()); }
  [[nodiscard]] View qkv(Index l) const { return mixing_in(l, 3 * width()); }
  [[nodiscard]] View out(Index l) const { return mixing_out(l, width()); }
  /// The two matrices of a layer that mixes tokens by other widths than attention, within the same numbers.
  [[nodiscard]] View mixing_in(Index l, Index columns) const {
    return at(layer(l) + width(), width(), columns);
  }
  [[nodiscard]] View mixing_out(Index l, Index rows) const {
    return at(layer(l) + width() * (1 + 4 * width() - rows), rows, width());
  }
  [[nodiscard]] View mlp_norm(Index l) const {
    return at(layer(l) + width() * (1 + 4 * width()), 1, width());
  }
  [[nodiscard]] View up(Index l) const {
    return at(layer(l) + width() * (2 + 4 * width()), width(), shape_.mlp());
  }
  [[nodiscard]] View down(Index l) const {
    return at(layer(l) + width() * (2 + 4 * width() + shape_.mlp()), shape_.mlp(), width());
  }
  [[nodiscard]] View last_norm() const { return at(layer(shape_.layers), 1, width()); }

  /// Calls f(first, count, is_norm) for every matrix, in the order of memory.
  template <class Body>
  void for_each(const Body& f) const {
    const auto range = [&](const View& view, bool norm) {
      f(static_cast<Index>(view.data() - data_), static_cast<Index>(view.size()), norm);
    };
    range(embedding(), false);
    for (Index l = 0; l < shape_.layers; ++l) {
      range(attention_norm(l), true);
      for (const View& view : {qkv(l), out(l)}) range(view, false);
      range(mlp_norm(l), true);
      for (const View& view : {up(l), down(l)}) range(view, false);
    }
    range(last_norm(), true);
  }

 private:
  [[nodiscard]] Index width() const { return shape_.width(); }
  [[nodiscard]] Index layer(Index l) const {
    return shape_.vocabulary * width() + l * shape_.layer_size();
  }
  [[nodiscard]] View at(Index first, Index rows, Index columns) const {
    return {data_ + first, rows, columns};
  }

  F* data_;
  ModelShape shape_;
};

class Weights {
 public:
  /// All zero. Throws Error for an impossible shape.
  explicit Weights(const ModelShape& shape) : shape_(shape) {
    Problems problems;
    shape.check(problems);
    problems.raise_if_any("posenc::lab::Weights");
    values_.resize(static_cast<std::size_t>(shape.num_weights()));
  }
  /// Normal numbers of deviation 0.02, and of 0.02 / sqrt(2 layers) where a matrix writes to the residual
  /// stream (GPT-2: Radford et al. 2019, section 2.3); norms are 1.
  [[nodiscard]] static Weights random(const ModelShape& shape, SeededRandom& random) {
    Weights weights(shape);
    const double narrow = 0.02 / std::sqrt(2.0 * static_cast<double>(shape.layers));
    const WeightViews<float> w = weights.view();
    fill(w.embedding(), 0.02, random);
    for (Index l = 0; l < shape.layers; ++l) {
      w.attention_norm(l).setOnes();
      fill(w.qkv(l), 0.02, random);
      fill(w.out(l), narrow, random);
      w.mlp_norm(l).setOnes();
      fill(w.up(l), 0.02, random);
      fill(w.down(l), narrow, random);
    }
    w.last_norm().setOnes();
    return weights;
  }

  [[nodiscard]] const ModelShape& shape() const { return shape_; }
  [[nodiscard]] std::span<float> values() { return values_; }
  [[nodiscard]] std::span<const float> values() const { return values_; }
  [[nodiscard]] WeightViews<float> view() { return {values_.data(), shape_}; }
  [[nodiscard]] WeightViews<const float> view() const { return {values_.data(), shape_}; }

 private:
  static void fill(MatrixView matrix, double deviation, SeededRandom& random) {
    for (Index i = 0; i < matrix.size(); ++i) {
      // Box and Muller 1958.
      const double radius = std::sqrt(-2 * std::log1p(-random.real(0, 0x1.fffffp-1)));
      matrix.data()[i] = static_cast<float>(deviation * radius *
                                            std::cos(2 * std::numbers::pi * random.real(0, 1)));
    }
  }

  ModelShape shape_;
  std::vector<float> values_;
};

}  // namespace lab

POSENC_NAMESPACE_END
