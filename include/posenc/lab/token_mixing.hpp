// SPDX-License-Identifier: MIT
//
// TokenMixing: what a layer of the lab's transformer may have in place of attention. The transformer knows no more of it,
// so that only those who train mixers (lab/mixers.hpp) compile any.
#pragma once

#include <posenc/executor/any_executor.hpp>
#include <posenc/lab/weights.hpp>

#include <memory>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// What a layer mixes: its normalised tokens [tokens][width], and the queries, keys and values that its weights make of
/// them [tokens][3 width], of sequences of one length, one after another.
struct MixedRows {
  const Matrix& in;
  const Matrix& qkv;
  Index sequences, length;
};

class TokenMixing {
 public:
  TokenMixing() = default;
  TokenMixing(const TokenMixing&) = delete;
  TokenMixing& operator=(const TokenMixing&) = delete;
  virtual ~TokenMixing() = default;

  /// What it learns besides the layer's weights, as it begins, and how many numbers that is.
  [[nodiscard]] virtual Index num_learned() const = 0;
  [[nodiscard]] virtual std::vector<double> initial() const = 0;
  /// Writes what comes out [tokens][width], and to `kept` what backward() wants to know.
  virtual void forward(const MixedRows& rows, std::span<const double> learned, Matrix& out,
                       std::vector<Matrix>& kept, const AnyExecutor& executor) const = 0;
  /// From the gradient of what came out: writes those of the queries, keys and values and of the tokens, these beside
  /// what comes back through queries, keys and values, and adds to that of what is learned.
  virtual void backward(const MixedRows& rows, std::span<const double> learned, const Matrix& d_out,
                        const std::vector<Matrix>& kept, Matrix& d_qkv, Matrix& d_in,
                        std::span<double> d_learned) const = 0;
};

/// One for each layer; null: that layer has attention.
using Mixings = std::vector<std::shared_ptr<const TokenMixing>>;

}  // namespace lab

POSENC_NAMESPACE_END
