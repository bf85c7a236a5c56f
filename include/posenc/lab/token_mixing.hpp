// SPDX-License-Identifier: MIT
//
// TokenMixing: what a layer of the lab's transformer may have in place of attention. The transformer knows no more of
// it, so that only those who train mixers (lab/mixers.hpp) compile any.
#pragma once

#include <posenc/core/view.hpp>
#include <posenc/executor/any_executor.hpp>
#include <posenc/lab/weights.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// heads x width of the columns of a matrix, from `first` on.
template <class F, class M>
[[nodiscard]] TensorView<F> columns(M& x, Index first, Index heads, Index width) {
  return {x.data() + first, x.rows(), heads, width, x.cols(), width};
}

/// What a layer mixes: its normalised tokens [tokens][width], and what its weights make of them [tokens][widths().in],
/// of sequences of one length, one after another.
struct MixedRows {
  const Matrix& in;
  const Matrix& projected;
  Index sequences, length;

  [[nodiscard]] std::vector<Index> starts() const {
    std::vector<Index> all;
    for (Index i = 0; i <= sequences; ++i) all.push_back(i * length);
    return all;
  }
};

/// Columns that a layer's weights make of its tokens for a mixing, and of what comes out of it.
struct MixingWidths {
  Index in, out;

  /// Queries, keys and values, as attention has them.
  [[nodiscard]] static MixingWidths of_attention(const ModelShape& shape) {
    return {3 * shape.width(), shape.width()};
  }
};

class TokenMixing {
 public:
  TokenMixing() = default;
  TokenMixing(const TokenMixing&) = delete;
  TokenMixing& operator=(const TokenMixing&) = delete;
  virtual ~TokenMixing() = default;

  /// Together at most 4 width: its two matrices lie where those of attention do.
  [[nodiscard]] virtual MixingWidths widths(const ModelShape& shape) const {
    return MixingWidths::of_attention(shape);
  }
  /// What it learns besides the layer's weights, as it begins, and how many numbers that is.
  [[nodiscard]] virtual Index num_learned() const = 0;
  [[nodiscard]] virtual std::vector<double> initial() const = 0;
  /// Writes what comes out [tokens][widths().out], and to `kept` what backward() wants to know.
  virtual void forward(const MixedRows& rows, std::span<const double> learned, Matrix& out,
                       std::vector<Matrix>& kept, const AnyExecutor& executor) const = 0;
  /// From the gradient of what came out: writes those of what was projected and of the tokens, these beside what comes
  /// back through the projection, and adds to that of what is learned.
  virtual void backward(const MixedRows& rows, std::span<const double> learned, const Matrix& d_out,
                        const std::vector<Matrix>& kept, Matrix& d_projected, Matrix& d_in,
                        std::span<double> d_learned) const = 0;
};

/// One for each layer; null: that layer has attention.
using Mixings = std::vector<std::shared_ptr<const TokenMixing>>;

/// Where a mixing stands.
struct MixingPlace {
  ModelShape shape;
  Index layer = 0;

  /// The first of four seeds that no other layer has.
  [[nodiscard]] std::uint64_t seed() const { return static_cast<std::uint64_t>(4 * layer); }
};
using MakeMixing = std::shared_ptr<const TokenMixing> (*)(const MixingPlace& at);

/// The same kind of mixing in all layers but each `period`th, from the first on, which have attention.
[[nodiscard]] inline Mixings some_layers(const ModelShape& shape, MakeMixing make, Index period) {
  Problems problems;
  problems.require(period >= 1, "the period of the layers of attention must be positive, got ",
                   period, ".");
  problems.raise_if_any("posenc::lab::some_layers");
  Mixings layers;
  for (Index l = 0; l < shape.layers; ++l)
    layers.push_back((l + 1) % period == 0 ? nullptr : make({shape, l}));
  return layers;
}
[[nodiscard]] inline Mixings all_layers(const ModelShape& shape, MakeMixing make) {
  return some_layers(shape, make, shape.layers + 1);
}

}  // namespace lab

POSENC_NAMESPACE_END
