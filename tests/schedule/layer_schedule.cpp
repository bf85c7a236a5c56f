// SPDX-License-Identifier: MIT
//
// Schedules of layers: presets against configurations of the models that they are named after, what each layer of
// HWFA sees, errors.
#include <posenc/config/huggingface.hpp>
#include <posenc/posenc.hpp>
#include <posenc/schedule/layer_presets.hpp>
#include <posenc/schedule/of_model.hpp>

#include "../support/catch.hpp"

#include <cmath>
#include <string>
#include <vector>

using namespace posenc;

namespace layer_schedule_cases {

LayerSchedule of_file(const std::string& name) {
  return layer_schedule(huggingface::read(std::string(POSENC_MODELS_DIR) + "/" + name));
}

/// The keys that a query in the middle and the last one see, as a string of 0 and 1 for each.
std::string visible(const AnyBound& bound, Index tokens, Index query) {
  const Index width = 16;
  const std::vector<double> zero(static_cast<std::size_t>(tokens * width));
  std::vector<double> v(static_cast<std::size_t>(tokens * tokens)), out(v.size());
  for (Index t = 0; t < tokens; ++t) v[static_cast<std::size_t>(t * (tokens + 1))] = 1;
  attention(TensorView<const double>(zero.data(), tokens, 1, width),
            TensorView<const double>(zero.data(), tokens, 1, width),
            TensorView<const double>(v.data(), tokens, 1, tokens),
            TensorView<double>(out.data(), tokens, 1, tokens), bound);
  std::string seen;
  for (Index k = 0; k < tokens; ++k)
    seen += out[static_cast<std::size_t>(query * tokens + k)] > 0 ? '1' : '0';
  return seen;
}

void check_same_rotation(const LayerSchedule& got, const LayerSchedule& expected) {
  REQUIRE(got.size() == expected.size());
  for (Index layer = 0; layer < got.size(); ++layer) {
    CAPTURE(layer);
    const AnyBound a = bind(got.at(layer), {.num_heads = 1});
    const AnyBound b = bind(expected.at(layer), {.num_heads = 1});
    REQUIRE(a.has_rotary() == b.has_rotary());
    if (a.has_rotary())
      CHECK((a.rotary().state.inv_freq - b.rotary().state.inv_freq).abs().maxCoeff() <= 1e-12);
    for (const Position query : {0, 8191, 100'000})
      CHECK_THAT(a.temperature(query), WithinRel(b.temperature(query), 1e-12));
  }
}

TEST_CASE("LayerSchedule: presets are what configurations of their models say") {
  check_same_rotation(smol_lm3(36, RoPE<HalfSplit>{.head_dim = 128, .base = 5e6}),
                      of_file("smollm3-3b.json"));
  check_same_rotation(command_r7b(32, RoPE<Interleaved>{.head_dim = 128, .base = 50'000}),
                      of_file("command-r7b.json"));
  check_same_rotation(gemma3(62, 128), of_file("gemma-3-27b.json"));
}

TEST_CASE("LayerSchedule: windows of the presets") {
  constexpr Index tokens = 40;
  const AnyEncoding rope = RoPE<HalfSplit>{.head_dim = 16};
  const auto ones = [](Index from, Index to) {
    std::string s(static_cast<std::size_t>(tokens), '0');
    for (Index i = from; i <= to; ++i) s[static_cast<std::size_t>(i)] = '1';
    return s;
  };
  const BoundLayers gemma = gemma3(12, 16, 10, 1).bind({.num_heads = 1});
  for (const Index layer : {0, 4, 6, 10}) CHECK(visible(gemma[layer], tokens, 30) == ones(21, 30));
  for (const Index layer : {5, 11}) CHECK(visible(gemma[layer], tokens, 30) == ones(0, 30));
  CHECK(visible(drope(2).bind({.num_heads = 1})[1], tokens, 30) == ones(0, 30));

  // Of small models: every third layer, and windows of their own.
  const BoundLayers small_gemma = gemma3(3, 16, 10, 1, 3).bind({.num_heads = 1});
  const BoundLayers command = command_r7b(3, rope, 10, 3).bind({.num_heads = 1});
  const BoundLayers scout = llama4(3, rope, 16, 3).bind({.num_heads = 1});
  const BoundLayers smol = smol_lm3(3, rope, 3).bind({.num_heads = 1});
  for (const Index layer : {0, 1}) {
    CHECK(visible(small_gemma[layer], tokens, 30) == ones(21, 30));
    CHECK(visible(command[layer], tokens, 30) == ones(21, 30));
    CHECK(visible(scout[layer], tokens, 30) == ones(16, 30));
    CHECK(visible(smol[layer], tokens, 30) == ones(0, 30));
    for (const BoundLayers* model : {&small_gemma, &command, &scout, &smol})
      CHECK((*model)[layer].has_rotary());
  }
  CHECK_THAT(small_gemma[2].rotary().state.base, WithinRel(1e6, 1e-12));
  CHECK_THAT(scout[2].temperature(16), WithinRel(1 + 0.1 * std::log(2), 1e-12));
  for (const BoundLayers* model : {&small_gemma, &command, &scout, &smol}) {
    CHECK(visible((*model)[2], tokens, 30) == ones(0, 30));
    CHECK((*model)[2].has_rotary() == (model == &small_gemma));
  }
}

TEST_CASE("LayerSchedule: HWFA sees no further than its share of the trained length") {
  CHECK(hwfa_window(512, 24) == 17);  // (w - 1) 23 + 1 <= 384
  CHECK(hwfa_window(100, 2, 0.29) == 29);
  CHECK(hwfa_window(512, 24, 0.68) == 16);
  constexpr Index layers = 5, trained = 40;
  for (const double alpha : {0.1, 0.5, 0.75, 1.0}) {
    const Position window = hwfa_window(trained, layers, alpha);
    CHECK(static_cast<double>((window - 1) * (layers - 1) + 1) <= alpha * trained);
    CHECK(static_cast<double>(window * (layers - 1) + 1) > alpha * trained);  // the greatest
  }
  const BoundLayers bound =
      hwfa(layers, RoPE<HalfSplit>{.head_dim = 16}, trained).bind({.num_heads = 1});
  // What token 39 depends on after layer after layer.
  std::string depends(40, '0');
  depends[39] = '1';
  for (Index layer = 0; layer < layers; ++layer) {
    CHECK(bound[layer].has_rotary() == (layer + 1 < layers));
    if (layer + 1 == layers) break;
    std::string more(40, '0');
    for (Index t = 0; t < 40; ++t)
      if (depends[static_cast<std::size_t>(t)] == '1') {
        const std::string seen = visible(bound[layer], 40, t);
        for (std::size_t k = 0; k < 40; ++k)
          if (seen[k] == '1') more[k] = '1';
      }
    depends = more;
  }
  CHECK(std::count(depends.begin(), depends.end(), '1') <= 30);
  CHECK(std::count(depends.begin(), depends.end(), '1') == (hwfa_window(40, 5) - 1) * 4 + 1);
  CHECK(visible(bound[4], 40, 39) == std::string(40, '1'));
  CHECK(bound[4].temperature(1599) > 1);  // log n
}

TEST_CASE(
    "LayerSchedule: HWFA with ReRoPE trains with rotation and is read without far distances") {
  const AnyEncoding rope = RoPE<HalfSplit>{.head_dim = 16};
  const std::vector<Index> full{2};
  const BoundLayers trained = hwfa_rerope(5, rope, 8, full, 20, true).bind({.num_heads = 1});
  const BoundLayers read = hwfa_rerope(5, rope, 8, full, 20, false).bind({.num_heads = 1});
  for (Index layer = 0; layer < 5; ++layer) {
    CHECK(read[layer].has_distance_map() == (layer == 2));
    CHECK(!trained[layer].has_distance_map());
    CHECK(trained[layer].has_rotary());
  }
  const std::vector<Index> none{5};
  CHECK_THROWS_WITH(hwfa_rerope(5, rope, 8, none, 20, false),
                    ContainsSubstring("full layer 5 is none of the 5 layers"));
}

TEST_CASE("LayerSchedule: wrong values are sentences") {
  CHECK_THROWS_WITH(LayerSchedule{}.check(), ContainsSubstring("at least one layer"));
  CHECK_THROWS_WITH((LayerSchedule{.kinds = {Causal{}}, .of_layer = {0, 1}}.bind({.num_heads = 1})),
                    ContainsSubstring("layer 1 has kind 1, but there are 1 kinds"));
  CHECK_THROWS_WITH(drope(3).at(3), ContainsSubstring("layers count from 0 to 2, got 3"));
  CHECK_THROWS_WITH(drope(3).bind({.num_heads = 1})[-1], ContainsSubstring("got -1"));
  CHECK_THROWS_WITH(drope(0), ContainsSubstring("at least one layer, got 0"));
  CHECK_THROWS_WITH(LayerSchedule::every(4, 0, Causal{}, Causal{}),
                    ContainsSubstring("the period must lie within [1, 4 layers], got 0"));
  CHECK_THROWS_WITH(LayerSchedule::every(3, 4, Causal{}, Causal{}), ContainsSubstring("got 4"));
  CHECK_THROWS_WITH(hwfa_window(512, 1), ContainsSubstring("at least two layers"));
  CHECK_THROWS_WITH(hwfa_window(512, 24, 1.5), ContainsSubstring("alpha must lie within (0, 1]"));
  // Every kind says what is wrong with it.
  CHECK_THROWS_WITH(smol_lm3(8, RoPE<HalfSplit>{.head_dim = 7}).bind({.num_heads = 1}),
                    ContainsSubstring("layers of kind 0"));
  try {
    (void)LayerSchedule::uniform(2, RoPE<HalfSplit>{.head_dim = 7} | Causal{})
        .bind({.num_heads = 1});
    FAIL("7 channels rotate");
  } catch (const Error& error) {
    CHECK(error.problems().size() == 1);  // of the one kind that there is
  }
  config::Model model{.model_type = "own"};
  CHECK_THROWS_WITH(layer_schedule(model), ContainsSubstring("does not say how many layers"));
  model.num_layers = 2;
  model.layers.push_back({.name = "full_attention", .layers = {-1}});
  CHECK_THROWS_WITH(layer_schedule(model), ContainsSubstring("layer -1 is none of the 2 layers"));
  model.layers[0].layers = {1};
  CHECK_THROWS_WITH(layer_schedule(model), ContainsSubstring("1 of the 2 layers do not attend"));
  CHECK_THROWS_WITH(of_file("qwen3.5.json"), ContainsSubstring("do not attend"));
}

}  // namespace layer_schedule_cases
