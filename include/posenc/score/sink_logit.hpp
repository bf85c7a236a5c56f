// SPDX-License-Identifier: MIT
//
// SinkLogit: one more logit per head in the softmax, with no value behind it, so that a head may
// attend to nothing.
//
//   openai/gpt-oss, gpt_oss/torch/model.py (sdpa): a learned logit per query head. Miller,
//   "Attention is off by one": logit 0.
//
//   p_j = exp(x_j) / (exp(logit_h) + sum over t of exp(x_t))
//
// The logit is used as it is: the softmax scale, biases and soft caps do not apply to it. Minus
// infinity is no sink. Its gradient is that of `logits`. Where partial results are merged, the sink belongs to one of them only.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// SinkLogit with a logit for every head.
struct PreparedSinkLogit {
  std::vector<float> logits;
  bool is_shared = false;  ///< one logit serves all heads

  [[nodiscard]] double sink_logit(Index head) const {
    return static_cast<double>(logits[static_cast<std::size_t>(head)]);
  }
  [[nodiscard]] Index num_parameters() const { return is_shared ? 1 : std::ssize(logits); }
  void sink_logit_gradient(Index head, double sum, std::span<double> gradient) const {
    gradient[is_shared ? 0 : static_cast<std::size_t>(head)] += sum;
  }
};

struct SinkLogit {
  std::vector<float> logits{0};  ///< one per query head; one value serves all

  [[nodiscard]] PreparedSinkLogit prepare(const HeadShape& shape) const {
    if (logits.size() != 1) return {logits};
    return {std::vector<float>(static_cast<std::size_t>(shape.num_heads), logits.front()), true};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    problems.require(logits.size() == 1 || std::ssize(logits) == shape.num_heads,
                     "SinkLogit: logits must have one value, or one for each of the ",
                     shape.num_heads, " query heads, got ", logits.size(), ".");
    const auto usable = [](float logit) { return logit < std::numeric_limits<float>::infinity(); };
    problems.require(
        std::all_of(logits.begin(), logits.end(), usable),
        "SinkLogit: every logit must be a number or minus infinity, got NaN or plus infinity.");
  }
};

POSENC_NAMESPACE_END
