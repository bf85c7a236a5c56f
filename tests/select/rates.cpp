// SPDX-License-Identifier: MIT
//
// Blocks where key heads turn at rates of their own: what each head chooses is what it chooses alone, with PI.
#include "choices.hpp"

#include "../support/bind_any.hpp"

#include <posenc/frequency/ms_poe.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/select/choose_blocks.hpp>

namespace select_test {
namespace rates_cases {

using posenc_test::bind_any;

constexpr Index tokens = 96, heads = 2, width = 8, queries = 9;
constexpr double ratio_of[heads] = {5, 3};  // 3 + 4 place / 2, head 1 first
const RoPE<HalfSplit> rope{.head_dim = width};
const MoBA moba{.block = 8, .topk = 3};

AnyBound together() {
  return bind_any(rope | MsPoE{.least = 3, .greatest = 7, .order = {1, 0}} | Causal{},
                  {.num_heads = heads});
}
AnyBound alone(Index head) { return bind_any(rope | PI{ratio_of[head]} | Causal{}); }

/// One head of rows [token][head][channel].
std::vector<float> head_of(const std::vector<float>& x, Index head) {
  std::vector<float> own;
  for (Index t = 0; t < std::ssize(x) / (heads * width); ++t)
    for (Index c = 0; c < width; ++c) own.push_back(x[size((t * heads + head) * width + c)]);
  return own;
}

template <KeyState State>
Selection chosen_of(const std::vector<float>& q, const std::vector<float>& k,
                    const AnyBound& bound) {
  const Index all = bound.shape().num_heads;
  auto cache =
      KeyValueCache<State>::contiguous({.kv_heads = all, .head_dim = width, .capacity = tokens});
  append(cache, 0, k, bound);
  return chosen_by<float>(moba, cache, bound, q, all);
}

template <KeyState State>
Index differing(const std::vector<float>& q, const std::vector<float>& k) {
  const Selection both = chosen_of<State>(q, k, together());
  Index differ = 0;
  for (Index h = 0; h < heads; ++h) {
    const Selection one = chosen_of<State>(head_of(q, h), head_of(k, h), alone(h));
    REQUIRE(both.size() == heads * one.size());
    for (Index i = 0; i < queries; ++i) {
      const Index own = tokens - queries + i;
      differ +=
          blocks_of(both[i * heads + h], moba.block, own) != blocks_of(one[i], moba.block, own) ? 1
                                                                                                : 0;
    }
  }
  return differ;
}

TEST_CASE("select: every head chooses by its own rate") {
  Random random(5);
  const std::vector<float> q = numbers(queries * heads * width, random),
                           k = numbers(tokens * heads * width, random);
  CHECK(differing<KeyState::raw>(q, k) == 0);
  CHECK(differing<KeyState::rotated>(q, k) == 0);
}

TEST_CASE("choose_blocks: every head chooses by its own rate") {
  Random random(6);
  const std::vector<float> q = numbers(queries * heads * width, random),
                           k = numbers(tokens * heads * width, random);
  const auto view = [](const std::vector<float>& x, Index all) {
    return TensorView<const float>(x.data(), std::ssize(x) / (all * width), all, width);
  };
  const ChosenBlocks both = choose_blocks(view(q, heads), view(k, heads), moba, together());
  for (Index h = 0; h < heads; ++h) {
    const std::vector<float> own_q = head_of(q, h), own_k = head_of(k, h);
    const ChosenBlocks one = choose_blocks(view(own_q, 1), view(own_k, 1), moba, alone(h));
    const auto mask = both.prepare({.num_heads = heads, .num_kv_heads = heads, .head_dim = width}),
               own = one.prepare({.head_dim = width});
    Index differ = 0;
    for (Position n = tokens - queries; n < tokens; ++n)
      for (Position m = 0; m <= n; ++m)
        differ += mask.visible({n, m, n, m, h}) != own.visible({n, m, n, m, 0}) ? 1 : 0;
    CHECK(differ == 0);
  }
}

}  // namespace rates_cases
}  // namespace select_test
