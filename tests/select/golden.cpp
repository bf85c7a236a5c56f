// SPDX-License-Identifier: MIT
//
// What the references' own code chooses; see tests/golden/README.md.
#include "choices.hpp"

#include <fstream>
#include <nlohmann/json.hpp>

namespace select_test {
namespace golden_cases {

/// Multiples of 2^-19 within [-1, 1), as the script draws them.
std::vector<float> drawn(Index n, Random& random) {
  std::vector<float> x(size(n));
  for (float& one : x) one = static_cast<float>(random.real(-1, 1));
  return x;
}

template <class S>
void check_case(const nlohmann::json& one, const S& selector) {
  const Index tokens = one["tokens"], heads = one["heads"], kv_heads = one["kv_heads"],
              width = one["width"];
  Random random(one["seed"].get<std::uint64_t>());
  const std::vector<float> q = drawn(tokens * heads * width, random),
                           k = drawn(tokens * kv_heads * width, random);
  const auto bound = without_positions(heads, kv_heads);
  auto cache = KeyValueCache<KeyState::raw>::contiguous(
      {.kv_heads = kv_heads, .head_dim = width, .capacity = tokens});
  append(cache, 0, k, bound);
  // The reference says what the last token chooses, or every token.
  const auto& chosen = one["chosen"];
  const Index queries = std::ssize(chosen), row = heads * width;
  const std::vector<float> last(q.end() - queries * row, q.end());
  const Selection got = chosen_by<float>(selector, cache, bound, last, heads);
  const Index choices = std::ssize(chosen[0]);
  REQUIRE(got.size() == queries * choices);
  for (Index i = 0; i < queries; ++i)
    for (Index c = 0; c < choices; ++c) {
      INFO("query " << i << " of " << queries << ", choice " << c);
      CHECK(blocks_of(got[i * choices + c], selector.block, tokens - queries + i) ==
            chosen[size(i)][size(c)].template get<Blocks>());
    }
}

TEST_CASE("the references of Quest, MoBA and NSA choose the same blocks") {
  std::ifstream file(POSENC_GOLDEN_DIR "/selection.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  Index cases = 0;
  for (const auto& one : golden["cases"]) {
    const std::string method = one["method"];
    const Index block = one["block"], count = one["count"];
    INFO(method << " of seed " << one["seed"]);
    if (method == "Quest")
      check_case(one, Quest{.block = block, .budget = count});
    else if (method == "MoBA")
      check_case(one, MoBA{.block = block, .topk = count});
    else
      check_case(one, NSASelection{.block = block, .blocks = count});
    ++cases;
  }
  CHECK(cases == 39);
}

}  // namespace golden_cases
}  // namespace select_test
