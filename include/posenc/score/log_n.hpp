// SPDX-License-Identifier: MIT
//
// LogN: scores grow with the logarithm of the number of keys, so that attention stays as sharp.
//
//   Su, kexue.fm/archives/8823; bojone/bert4keras (attention_normalize), bojone/rerope,
//   QwenLM/Qwen, modeling_qwen.py.
//
//   Attention-E         ln(max(n, minimum_keys)) / ln(base_length)       for models trained with it
//   clipped, Qwen-1     max(1, ln(n) / ln(base_length))                  for models trained without
//
// n is the number of keys that a causal row sees: position + 1. It is not the greatest length of
// the batch, as some descriptions have it, and a window does not lower it. Clipped, base_length is
// the trained length, and nothing changes below it. Qwen's own table ends at 32,767 positions; this
// has no end. Multiplies with YaRN's attention factor where both are used.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>

POSENC_NAMESPACE_BEGIN

struct LogN {
  Position base_length = 512;  ///< number of keys at which the factor is 1
  bool clipped = false;        ///< never below 1 (Qwen: use_logn_attn, base_length = seq_length)
  Position minimum_keys = 16;  ///< least n, where not clipped

  [[nodiscard]] double temperature(Position query) const {
    const double least =
        clipped ? static_cast<double>(base_length) : static_cast<double>(minimum_keys);
    const double n = std::max(static_cast<double>(query) + 1, least);
    return std::log(n) / std::log(static_cast<double>(base_length));
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(base_length >= 2, "LogN: base_length must be at least 2, got ", base_length,
                     ".");
    problems.require(minimum_keys >= 1, "LogN: minimum_keys must be at least 1, got ", minimum_keys,
                     ".");
  }
};

POSENC_NAMESPACE_END
