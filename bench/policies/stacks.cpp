// SPDX-License-Identifier: MIT
#include "policies/policies.hpp"

namespace bench {

using namespace posenc;

namespace {

// Functions of one's own: the first is asked once per head and distance, the second per score.
constexpr auto of_distance = [](Index head, Position distance) {
  return -0.1 * static_cast<double>(head + 1) * std::log1p(std::abs(static_cast<double>(distance)));
};
constexpr auto of_score = [](const Score& at) {
  const auto ago = static_cast<float>(at.distance());
  return 0.5F * static_cast<float>(at.head + 1) / (1 + ago * ago);
};

}  // namespace

void add_stacks(const PolicySetting& at) {
  const auto rope = at.rope();
  constexpr Causal causal{};
  const double s = static_cast<double>(std::max<Position>(4 * at.trained, at.size.tokens)) /
                   static_cast<double>(at.trained);
  const YaRN yarn{.factor = s, .original_context = at.trained};

  // Scores of at most 5 without their biases, as normalised queries and keys have.
  ForgetGate pruned = gallery::example_forget_gate(at.size.heads, at.size.tokens);
  pruned.least_bias = ForgetGate::pruning_bias(5, at.size.tokens);

  // Gates of random tokens: half open.
  const CoPE counting{.table =
                          std::vector<float>(static_cast<std::size_t>(64 * at.size.width), 0.01F)};

  // Every second head sees everything; patterns of 512 near distances and 256 keys in 16 runs.
  AShape a_shape{.heads = {}};
  DuoAttention duo;
  VerticalSlash pattern;
  for (Index h = 0; h < at.size.heads; ++h) {
    a_shape.heads.push_back({.sinks = 4, .window = h % 2 == 0 ? SlidingWindow::unlimited : 1024});
    duo.full.push_back(h % 2 == 0);
    VerticalSlash::Head head = VerticalSlash::Head::a_shape(0, 512);
    for (Position i = 0; i < 256; ++i)
      head.columns.push_back(i / 16 * std::max<Position>(16, at.size.tokens / 16) + i % 16);
    pattern.heads.push_back(std::move(head));
  }

  // clang-format off: a row is a line
  add_policy(at, "bias(head, distance)", bias(of_distance) | causal);
  add_policy(at, "bias(score)", bias(of_score) | causal);
  add_policy(at, "RoPE|ForgetGate, pruned", rope | pruned | causal);
  add_policy(at, "CoPE", counting | causal);
  add_policy(at, "SoftCap alone", SoftCap{50} | causal);
  add_policy(at, "SlidingWindow 1024", encoding(SlidingWindow::from_token_count(1024)));
  add_policy(at, "SinkWindow 4+1024", encoding(SinkWindow{.sinks = 4, .window = 1024}));
  add_policy(at, "AShape 4+1024, half of the heads", encoding(a_shape));
  add_policy(at, "DuoAttention 64+256, half of the heads", encoding(duo));
  add_policy(at, "VerticalSlash 256+512", encoding(pattern));
  add_policy(at, "RoPE|ALiBi|SoftCap", rope | ALiBi{} | SoftCap{50} | causal);
  add_policy(at, "RoPE|YaRN|LogN", rope | yarn | LogN{.base_length = at.trained} | causal);
  add_policy(at, "RoPE|YaRN|ReRoPE|ALiBi|SoftCap", rope | yarn | ReRoPE{.window = 512} | ALiBi{} | SoftCap{50} | causal);
  add_policy(at, "RoPE|YaRN|ReRoPE|ALiBi|SlidingWindow|SoftCap", rope | yarn | ReRoPE{.window = 512} | ALiBi{} | SlidingWindow::from_token_count(1024) | SoftCap{50});
  // clang-format on
}

}  // namespace bench
