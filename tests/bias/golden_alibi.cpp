// SPDX-License-Identifier: MIT
//
// Slopes and bias tensors of BLOOM and MPT, as the reference library computes them.
#if __has_include(<nlohmann/json.hpp>)

#include <posenc/bias/alibi.hpp>

#include "../support/catch.hpp"

#include <nlohmann/json.hpp>

#include <fstream>

using namespace posenc;

namespace golden_alibi_cases {

nlohmann::json golden() {
  std::ifstream file(POSENC_GOLDEN_DIR "/alibi.json");
  REQUIRE(file);
  return nlohmann::json::parse(file);
}

/// References raise a base in float32 to a power below twice the number of heads, and the rounding
/// of the base with it.
void equal_slopes(const std::vector<double>& slopes, const std::vector<float>& expected) {
  REQUIRE(slopes.size() == expected.size());
  const double tolerance = (2 * static_cast<double>(slopes.size()) + 2) * 0x1p-24;
  for (std::size_t h = 0; h < slopes.size(); ++h)
    REQUIRE_THAT(slopes[h], WithinRel(static_cast<double>(expected[h]), tolerance));
}

TEST_CASE("golden: ALiBi slopes of BLOOM and MPT") {
  const nlohmann::json file = golden();
  REQUIRE(file.at("slopes").size() >= 100);
  for (const auto& entry : file.at("slopes")) {
    const Index heads = entry.at("heads");
    INFO("heads " << heads);
    equal_slopes(alibi_slopes(heads), entry.at("bloom"));
    equal_slopes(alibi_slopes(heads, 8), entry.at("mpt_8"));
    equal_slopes(alibi_slopes(heads, 4), entry.at("mpt_4"));
  }
}

TEST_CASE("golden: ALiBi tensors of BLOOM and MPT, up to a constant of each row") {
  const nlohmann::json file = golden();
  int compared = 0;
  for (const auto& entry : file.at("tensors")) {
    const Index heads = entry.at("heads");
    const bool mpt = entry.at("reference") == "mpt";
    const auto shape = entry.at("shape").get<std::vector<Index>>();
    const auto bias = entry.at("bias").get<std::vector<float>>();
    const Index keys = shape.back();
    const PreparedALiBi alibi =
        ALiBi{.max_bias = mpt ? entry.at("bias_max").get<double>() : 8}.prepare(
            {.num_heads = heads});
    // BLOOM: [batch * heads, 1, keys]; key positions count the tokens that are not padding.
    for (std::size_t row = 0; row < bias.size() / static_cast<std::size_t>(keys); ++row) {
      std::vector<Position> positions;
      for (Index key = 0; key < keys; ++key) positions.push_back(key);
      std::vector<int> real(static_cast<std::size_t>(keys), 1);
      if (!mpt) {
        real = entry.at("attention_mask")
                   .at(row / static_cast<std::size_t>(heads))
                   .get<std::vector<int>>();
        Position position = -1;
        for (std::size_t key = 0; key < real.size(); ++key) positions[key] = position += real[key];
      }
      const Index head = static_cast<Index>(row) % heads;
      const auto at = [&](std::size_t key) {
        return static_cast<double>(bias[row * static_cast<std::size_t>(keys) + key]);
      };
      const auto last = static_cast<std::size_t>(keys - 1);
      for (std::size_t key = 0; key <= last; ++key) {
        if (real[key] == 0) continue;
        const double ours = alibi.relative_bias(head, positions[last] - positions[key]);
        REQUIRE_THAT(ours, WithinAbs(at(key) - at(last), 1e-5));
        ++compared;
      }
    }
  }
  CHECK(compared > 100);
}

#endif

}  // namespace golden_alibi_cases
