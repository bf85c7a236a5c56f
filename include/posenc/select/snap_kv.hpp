// SPDX-License-Identifier: MIT
//
// SnapKV: the tokens of a prompt that its last queries look at, with their neighbours.
//
//   score(m) = mean, or greatest, over |j| <= kernel / 2 of sum over the last `window` queries n of w(n, m + j)
//
// Kept are the last `window` tokens and the capacity - window others with the greatest scores; a prompt of at most
// `capacity` tokens stays whole. Tokens beyond the ends count as 0 in a mean.
//
// Li et al., "SnapKV: LLM Knows What You are Looking for Before Generation" (arXiv 2404.14469), section 4;
// github.com/FasterDecoding/SnapKV, snapkv/monkeypatch/snapkv_utils.py. With keep_tokens or evict_tokens
// (select/kept_tokens.hpp), once, after the prompt, and an AttentionMass that has the weights of the last `window` queries
// and no others.
//
// Defaults are what the reference sets for a model without settings of its own (32, 2,048, 5, mean); its class has a
// window of 64 and 320 tokens. It chooses for each query head and so keeps keys of a group several times; ChoicePer::key_head adds
// the sums of a group and chooses once.
#pragma once

#include <posenc/select/key_selector.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct SnapKV {
  enum class Pooling { mean, greatest };
  static constexpr std::string_view name = "SnapKV";

  Index capacity = 2'048;  ///< max_capacity_prompt
  Index window = 32;       ///< window_size
  Index kernel = 5;        ///< kernel_size
  Pooling pooling = Pooling::mean;
  ChoicePer per = ChoicePer::query_head;

  void check(Problems& problems) const {
    problems.require(window >= 1 && capacity > window,
                     "SnapKV: the window has at least one token and the capacity more than the "
                     "window, got window = ",
                     window, " and capacity = ", capacity, ".");
    problems.require(
        kernel >= 1 && kernel % 2 == 1,
        "SnapKV: kernel counts a token and as many on either side, so it must be odd, got ", kernel,
        ".");
  }
  [[nodiscard]] Index recent_tokens() const { return window; }
  [[nodiscard]] Index chosen_tokens() const { return capacity - window; }
  void pool(std::span<float> scores) const {
    const std::vector<float> own(scores.begin(), scores.end());
    const Index tokens = std::ssize(own), reach = kernel / 2;
    for (Index m = 0; m < tokens; ++m) {
      const auto first = own.begin() + std::max<Index>(m - reach, 0),
                 last = own.begin() + std::min(m + reach + 1, tokens);
      float& score = scores[static_cast<std::size_t>(m)];
      if (pooling == Pooling::greatest) {
        score = *std::max_element(first, last);
      } else {
        double sum = 0;
        for (auto x = first; x != last; ++x) sum += static_cast<double>(*x);
        score = static_cast<float>(sum / static_cast<double>(kernel));
      }
    }
  }
};

POSENC_NAMESPACE_END
