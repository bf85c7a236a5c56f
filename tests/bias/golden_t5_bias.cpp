// SPDX-License-Identifier: MIT
//
// Buckets and bias tensors of T5, as the reference library computes them.
#if __has_include(<nlohmann/json.hpp>)

#include <posenc/bias/t5_bias.hpp>

#include "../support/catch.hpp"

#include <nlohmann/json.hpp>

#include <fstream>

using namespace posenc;

namespace golden_t5_bias_cases {
nlohmann::json golden() {
  std::ifstream file(POSENC_GOLDEN_DIR "/t5_bias.json");
  REQUIRE(file);
  return nlohmann::json::parse(file);
}

TEST_CASE("golden: T5 buckets") {
  const nlohmann::json file = golden();
  const Position first = file.at("relative_position_first");
  const auto far = file.at("far_relative_positions").get<std::vector<Position>>();
  REQUIRE(file.at("buckets").size() >= 20);
  for (const auto& entry : file.at("buckets")) {
    const Index num_buckets = entry.at("num_buckets");
    const Position max_distance = entry.at("max_distance");
    const bool bidirectional = entry.at("bidirectional");
    INFO(num_buckets << " buckets, max_distance " << max_distance << ", bidirectional "
                     << bidirectional);
    const T5Buckets buckets(bidirectional, num_buckets, max_distance);
    const auto near_buckets = entry.at("buckets").get<std::vector<Index>>();
    const auto far_buckets = entry.at("far_buckets").get<std::vector<Index>>();
    REQUIRE(
        near_buckets.size() ==
        static_cast<std::size_t>(file.at("relative_position_last").get<Position>() - first + 1));
    for (std::size_t i = 0; i < near_buckets.size(); ++i)
      REQUIRE(buckets.bucket(first + static_cast<Position>(i)) == near_buckets[i]);
    for (std::size_t i = 0; i < far.size(); ++i)
      REQUIRE(buckets.bucket(far[i]) == far_buckets.at(i));
  }
}

TEST_CASE("golden: T5 bias tensors, encoder and decoder, with a cache") {
  const nlohmann::json file = golden();
  REQUIRE(file.at("biases").size() >= 10);
  for (const auto& entry : file.at("biases")) {
    const Index heads = entry.at("num_heads");
    const T5Bias t5{.table = entry.at("table").get<std::vector<float>>(),
                    .num_buckets = entry.at("num_buckets"),
                    .max_distance = entry.at("max_distance"),
                    .bidirectional = entry.at("bidirectional")};
    Problems problems;
    t5.check(problems, {.num_heads = heads});
    REQUIRE(problems.empty());
    const PreparedT5Bias prepared = t5.prepare({.num_heads = heads});
    const auto bias = entry.at("bias").get<std::vector<float>>();
    const Position queries = entry.at("q_len"), keys = entry.at("k_len"), past = entry.at("past");
    REQUIRE(std::ssize(bias) == heads * queries * keys);
    std::size_t i = 0;
    for (Index head = 0; head < heads; ++head)
      for (Position query = past; query < past + queries; ++query)
        for (Position key = 0; key < keys; ++key)
          REQUIRE(prepared.relative_bias(head, query - key) == static_cast<double>(bias[i++]));
  }
}

#endif

}  // namespace golden_t5_bias_cases
