// SPDX-License-Identifier: MIT
//
// The encoding of training, from published configurations: closed forms of its frequencies.
#include "../../examples/compare/training.hpp"

#include "../support/catch.hpp"

#include <posenc/config/huggingface.hpp>

namespace training_cases {

using namespace posenc;

config::LayerKind layer_of(const std::string& file) {
  const auto model = huggingface::read(std::string(POSENC_MODELS_DIR) + "/" + file);
  for (const auto& layer : model.layers)
    if (layer.rotary && layer.window == 0) return layer;
  FAIL("no layer rotates");
  return {};
}

double frequency(const config::LayerKind& layer, Position trained, Index pair) {
  return bind(compare::rotation_of_training(layer, trained), {}).rotary().state.inv_freq[pair];
}

TEST_CASE("Extensions of a file are undone at the length that they extend, and kept beyond") {
  for (const char* file :
       {"llama-3.1-8b.json", "qwen2.5-7b-instruct-yarn.json", "yarn-llama-2-7b-128k.json"}) {
    const auto layer = layer_of(file);
    const Position original = layer.rotary->trained_context;
    CAPTURE(file, original);
    CHECK(compare::file_extends(layer, original));
    const auto plain = static_cast<double>(
        std::pow(static_cast<long double>(layer.rotary->base), -2 * 63 / 128.0L));
    CHECK(frequency(layer, original, 63) == Approx(plain).epsilon(1e-12));
    CHECK(frequency(layer, original / 2, 63) == Approx(plain).epsilon(1e-12));
    CHECK_FALSE(compare::file_extends(layer, original + 1));
    CHECK(frequency(layer, original + 1, 63) == Approx(plain / layer.rotary->factor).epsilon(1e-9));
  }
}

TEST_CASE("What has no trained length of its own was there in training") {
  config::LayerKind layer{
      .name = "full_attention", .num_heads = 2, .num_kv_heads = 2, .head_dim = 8};
  layer.rotary = config::Rotation{.head_dim = 8,
                                  .rotary_dim = 8,
                                  .base = 10000,
                                  .type = "linear",
                                  .scheme = config::Scheme{PI{.factor = 4}},
                                  .factor = 4,
                                  .trained_context = 64};
  CHECK_FALSE(compare::file_extends(layer, 64));
  CHECK(frequency(layer, 64, 0) == Approx(0.25));
  layer.rotary->scheme = config::Scheme{Proportional{.fraction = 0.5}};
  CHECK_FALSE(compare::file_extends(layer, 64));
  CHECK(frequency(layer, 64, 1) == Approx(std::pow(10000.0, -2 / 8.0)));
  CHECK(frequency(layer, 64, 3) == 0);
  layer.rotary->scheme = config::Scheme{};
  CHECK_FALSE(compare::file_extends(layer, 64));
  CHECK(frequency(layer, 64, 3) == Approx(std::pow(10000.0, -6 / 8.0)));
}

TEST_CASE("Schemes that follow the length are what they were at the trained one") {
  config::LayerKind layer{
      .name = "full_attention", .num_heads = 2, .num_kv_heads = 2, .head_dim = 8};
  layer.rotary = config::Rotation{
      .head_dim = 8, .rotary_dim = 8, .base = 10000, .type = "dynamic", .trained_context = 64};
  layer.rotary->scheme = config::LengthScheme{DynamicNTK{.factor = 4, .original_context = 64}};
  CHECK(compare::file_extends(layer, 64));
  CHECK(frequency(layer, 64, 3) == Approx(std::pow(10000.0, -6 / 8.0)));
  layer.rotary->scheme = config::LengthScheme{LongRoPE{.short_factor = {1, 1, 2, 3},
                                                       .long_factor = {1, 2, 4, 8},
                                                       .factor = 4,
                                                       .original_context = 64,
                                                       .attention_factor = 1.5}};
  CHECK(compare::file_extends(layer, 64));
  CHECK(frequency(layer, 64, 3) == Approx(std::pow(10000.0, -6 / 8.0) / 3));
  CHECK(frequency(layer, 65, 3) == Approx(std::pow(10000.0, -6 / 8.0) / 8));
  CHECK(bind(compare::rotation_of_training(layer, 64), {}).rotary().state.attention_factor ==
        Approx(1.5));
}

TEST_CASE("Windows, chunks and temperatures of the layers stay") {
  config::LayerKind layer{
      .name = "sliding_attention", .num_heads = 2, .num_kv_heads = 2, .head_dim = 8, .window = 4};
  const auto sees = [&](Position key) {
    const auto bound =
        bind(compare::with_layer(AnyEncoding(encoding(Causal{})), layer), {.num_heads = 2});
    return bound.answers().visible({20, key, 20, key, 0});
  };
  CHECK(sees(17));
  CHECK_FALSE(sees(16));
  layer.window = 0, layer.chunk = 16;
  CHECK(sees(16));
  CHECK_FALSE(sees(15));
  layer.score.rule = LogN{.base_length = 4};
  const auto temperature = [&](bool own) {
    return bind(compare::with_layer(AnyEncoding(encoding(Causal{})), layer, own), {.num_heads = 2})
        .temperature(63);
  };
  CHECK(temperature(false) == Approx(3));  // ln 64 / ln 4
  CHECK(temperature(true) == 1);
}

}  // namespace training_cases
