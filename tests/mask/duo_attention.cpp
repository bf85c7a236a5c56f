// SPDX-License-Identifier: MIT
#include <posenc/mask/duo_attention.hpp>

#include "heads.hpp"

using namespace posenc;

namespace duo_attention_cases {

constexpr HeadShape shape{.num_heads = 6, .num_kv_heads = 3};

TEST_CASE("DuoAttention: pairs and tiles, by key head and by query head") {
  const auto shown = [](bool full, Position query, Position key) {
    return key <= query && (full || key < 4 || query - key < 7);
  };
  const std::vector<bool> groups{true, false, true}, heads{false, true, true, false, false, true};
  mask_of_heads_is(
      DuoAttention{groups, 4, 7}.prepare(shape), 6,
      [&](Index head, Position query, Position key) {
        return shown(groups[static_cast<std::size_t>(head / 2)], query, key);
      },
      Fullness::exact);
  mask_of_heads_is(
      DuoAttention{heads, 4, 7}.prepare(shape), 6,
      [&](Index head, Position query, Position key) {
        return shown(heads[static_cast<std::size_t>(head)], query, key);
      },
      Fullness::exact);
}

TEST_CASE("DuoAttention: the reference's defaults") {
  CHECK(DuoAttention{}.sinks == 64);
  CHECK(DuoAttention{}.recent == 256);
  const auto mask = DuoAttention{{false}}.prepare({.num_heads = 1});
  int seen = 0;
  for (Position key = 0; key < 2000; ++key) seen += mask.visible(pair(1500, key));
  CHECK(seen == 64 + 256);
}

/// numpy.quantile as its documentation has it, and the comparison of the reference.
std::vector<bool> by_quantile(const std::vector<double>& gates, double sparsity) {
  if (sparsity >= 1) return std::vector<bool>(gates.size(), false);
  if (sparsity <= 0) return std::vector<bool>(gates.size(), true);
  std::vector<double> sorted = gates;
  std::sort(sorted.begin(), sorted.end());
  const double place = static_cast<double>(gates.size() - 1) * sparsity;
  const auto lower = static_cast<std::size_t>(std::floor(place));
  const auto upper = std::min(lower + 1, gates.size() - 1);
  const double threshold =
      sorted[lower] + (place - std::floor(place)) * (sorted[upper] - sorted[lower]);
  std::vector<bool> full;
  for (const double gate : gates) full.push_back(gate >= threshold);
  return full;
}

TEST_CASE("DuoAttention: gates of a model, by the quantile of the reference") {
  std::mt19937 random(5);
  constexpr Index layers = 4, heads = 8;
  for (const double sparsity : {-0.5, 0.0, 0.1, 0.25, 1.0 / 3, 0.5, 0.6, 0.75, 0.99, 1.0, 1.5}) {
    const std::vector<double> gates = posenc_test::noise<double>(layers * heads, random, 0.0, 1.0);
    const std::vector<bool> expected = by_quantile(gates, sparsity);
    const std::vector<DuoAttention> model = DuoAttention::from_gates(gates, layers, sparsity);
    REQUIRE(std::ssize(model) == layers);
    std::vector<bool> got;
    for (const DuoAttention& layer : model)
      got.insert(got.end(), layer.full.begin(), layer.full.end());
    INFO(sparsity);
    CHECK(got == expected);
  }
  // Halves of an even number of gates, also where most are equal or beyond 0 to 1.
  const auto equal =
      DuoAttention::from_gates(std::vector<double>{0, 0, -3, 0, 0, 1, 2, 0.5}, 2, 0.5);
  CHECK(equal[0].full == std::vector<bool>{false, false, false, false});
  CHECK(equal[1].full == std::vector<bool>{true, true, true, true});
}

TEST_CASE("DuoAttention: gates of a layer, by a threshold") {
  const std::vector<double> gates{0.1, 0.5, 0.49, 1};
  CHECK(DuoAttention::from_gates(gates).full == std::vector<bool>{false, true, false, true});
  CHECK(DuoAttention::from_gates(gates, 0.05).full == std::vector<bool>{true, true, true, true});
}

TEST_CASE("DuoAttention: what is wrong is said") {
  CHECK(sentences_of(DuoAttention{{true, false, true}}, shape).empty());
  CHECK_THAT(sentences_of(DuoAttention{}, shape),
             ContainsSubstring("each of the 3 key heads or of the 6 query heads, got 0"));
  CHECK_THAT(sentences_of(DuoAttention{.full = {true, true, true}, .sinks = -2}, shape),
             ContainsSubstring("sinks must not be negative, got -2"));
  CHECK_THAT(sentences_of(DuoAttention{.full = {true, true, true}, .recent = 0}, shape),
             ContainsSubstring("must be at least 1, got 0"));
  const std::vector<double> gates{0.1, NAN, 0.3};
  CHECK_THROWS_WITH(DuoAttention::from_gates(gates, 2, 0.5),
                    ContainsSubstring("3 of them do not divide into 2 layers") &&
                        ContainsSubstring("number 1 is NaN"));
  CHECK_THROWS_WITH(DuoAttention::from_gates(std::vector<double>{1}, 1, NAN),
                    ContainsSubstring("sparsity must be a number"));
}

}  // namespace duo_attention_cases
