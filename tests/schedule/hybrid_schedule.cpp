// SPDX-License-Identifier: MIT
//
// Hybrid schedules: presets against the lists of the published configurations, memory against sums by hand, errors.
#include <posenc/config/huggingface.hpp>
#include <posenc/mixers/mixers.hpp>
#include <posenc/posenc.hpp>
#include <posenc/schedule/hybrid_memory.hpp>
#include <posenc/schedule/hybrid_of_model.hpp>
#include <posenc/schedule/hybrid_presets.hpp>
#include <posenc/schedule/of_model.hpp>

#include "../support/catch.hpp"

#include <string>
#include <vector>

using namespace posenc;

namespace hybrid_schedule_cases {

using mixers::GatedDeltaNet;
using mixers::KDA;
using mixers::Mamba;
using mixers::Mamba2;

/// A letter for each layer, by what it holds.
std::string letters(const HybridSchedule& schedule) {
  std::string all;
  for (Index layer = 0; layer < schedule.size(); ++layer) {
    const HybridLayer& at = schedule.at(layer);
    all += std::holds_alternative<AnyEncoding>(at)        ? '*'
           : std::holds_alternative<mixers::AnyMixer>(at) ? 'M'
                                                          : '-';
  }
  return all;
}

std::string attention_at(Index layers, const std::vector<std::size_t>& attending) {
  std::string all(static_cast<std::size_t>(layers), 'M');
  for (const std::size_t layer : attending) all[layer] = '*';
  return all;
}

Mamba small_mamba(Index layer) { return Mamba::initial(8, static_cast<std::uint64_t>(layer)); }
Mamba2 small_mamba2(Index layer) {
  return Mamba2::initial(16, static_cast<std::uint64_t>(layer), 2, 16, 16);
}

std::vector<std::string> problems_of(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.problems();
  }
  return {};
}

TEST_CASE("HybridSchedule: presets have the layers of the published configurations") {
  const GatedDeltaNet delta{32, 128, 128, 16};
  const KDA kda{32, 128, 128};
  const RoPE<HalfSplit> rope{.head_dim = 256, .base = 1e7, .rotary_dim = 64};
  // configuration_jamba.py: attn_layer_period 8, attn_layer_offset 4, 32 layers.
  CHECK(letters(jamba(32, small_mamba)) == attention_at(32, {4, 12, 20, 28}));
  // configuration_qwen3_next.py: full_attention_interval 4, 48 layers.
  CHECK(letters(qwen3_next(48, delta, rope)) ==
        attention_at(48, {3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47}));
  // config.json of Kimi-Linear-48B-A3B-Instruct, whose lists count from 1.
  CHECK(letters(kimi_linear(27, kda)) == attention_at(27, {3, 7, 11, 15, 19, 23, 26}));
  // hybrid_override_pattern of Nemotron-H 8B and 56B.
  std::string nemotron = "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-";
  CHECK(letters(nemotron_h(small_mamba2)) == nemotron);
  const std::string large = letters(nemotron_h(small_mamba2, nemotron_h_56b));
  CHECK(large.size() == 118);
  for (std::size_t layer = 0; layer < large.size(); ++layer)
    CHECK((large[layer] == '*') == (layer >= 7 && (layer - 7) % 11 == 0 && layer <= 106));
  CHECK(std::count(large.begin(), large.end(), 'M') == 54);
  CHECK(letters(nemotron_h(small_mamba2, "M*E-")) == "M*--");

  // Of smaller models.
  CHECK(letters(jamba(5, small_mamba, 2, 0)) == "*M*M*");
  CHECK(letters(qwen3_next(4, delta, rope, 2)) == "M*M*");
  CHECK(letters(kimi_linear(4, kda, 3)) == "MM**");
}

TEST_CASE("HybridSchedule: presets are what configurations of their models say") {
  using nlohmann::json;
  const auto of_config = [](const json& config, const MixerOfLayer& mixer) {
    return hybrid_schedule(huggingface::parse(config), mixer);
  };
  const json llm{{"hidden_size", 4096}, {"num_attention_heads", 32}};
  const auto with = [&](json more) {
    more.update(llm);
    return more;
  };
  const GatedDeltaNet delta{32, 128, 128, 16};
  const RoPE<HalfSplit> rope{.head_dim = 256, .rotary_dim = 64};

  const HybridSchedule next = of_config(with({{"model_type", "qwen3_next"}}), delta);
  CHECK(letters(next) == letters(qwen3_next(48, delta, rope)));
  const BoundHybridLayers bound = next.bind({.num_heads = 16, .num_kv_heads = 2});
  const BoundHybridLayers ours =
      qwen3_next(48, delta, rope).bind({.num_heads = 16, .num_kv_heads = 2});
  const auto& a = std::get<AnyBound>(bound[3]).rotary();
  const auto& b = std::get<AnyBound>(ours[3]).rotary();
  REQUIRE(a.pairs() == 32);
  CHECK((a.state.inv_freq - b.state.inv_freq).abs().maxCoeff() <= 1e-12);

  CHECK(letters(of_config(with({{"model_type", "jamba"}}), small_mamba)) ==
        letters(jamba(32, small_mamba)));
  const json lists{{"full_attn_layers", {4, 8, 12, 16, 20, 24, 27}},
                   {"kda_layers",
                    {1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21, 22, 23, 25, 26}},
                   {"head_dim", 128},
                   {"num_heads", 32},
                   {"short_conv_kernel_size", 4}};
  const HybridSchedule kimi = of_config(with({{"model_type", "kimi_linear"},
                                              {"num_hidden_layers", 27},
                                              {"mla_use_nope", true},
                                              {"linear_attn_config", lists}}),
                                        KDA{32, 128, 128});
  CHECK(letters(kimi) == letters(kimi_linear(27, KDA{32, 128, 128})));
  CHECK_FALSE(std::get<AnyBound>(kimi.bind({.num_heads = 32})[26]).has_rotary());
  const HybridSchedule nemotron =
      of_config(with({{"model_type", "nemotron_h"},
                      {"num_hidden_layers", 52},
                      {"hybrid_override_pattern", std::string(nemotron_h_8b)}}),
                small_mamba2);
  CHECK(letters(nemotron) == std::string(nemotron_h_8b));
  CHECK_FALSE(std::get<AnyBound>(nemotron.bind({.num_heads = 32})[7]).has_rotary());

  // Each layer has the parameters that the function returns for it.
  for (const HybridSchedule& schedule : {nemotron, nemotron_h(small_mamba2)}) {
    const BoundHybridLayers layers = schedule.bind({.num_heads = 32});
    for (const Index layer : {0, 2, 50})
      CHECK(std::get<mixers::Mixer>(layers[layer]).recurrence().biases ==
            small_mamba2(layer).dt_bias);
  }
}

TEST_CASE("HybridSchedule: a kind for all layers or one for each, bound to its operator") {
  CHECK(qwen3_next(48, GatedDeltaNet{2, 16, 16}, RoPE<HalfSplit>{.head_dim = 16}).kinds.size() ==
        2);
  CHECK(jamba(32, small_mamba).kinds.size() == 29);
  const HybridSchedule all{
      .kinds = {Causal{}, Mamba::initial(8, 1), mixers::RWKV4::initial(8, 0, 2),
                mixers::Mamba3::initial(16, 2, 16, 16), GatedDeltaNet{2, 16, 16}, NoMixing{}},
      .of_layer = {0, 1, 2, 3, 4, 5}};
  const BoundHybridLayers bound = all.bind({.num_heads = 1});
  CHECK(std::holds_alternative<AnyBound>(bound[0]));
  CHECK(std::get<mixers::SelectiveScan>(bound[1]).channels() == 16);
  CHECK(std::get<mixers::WKV>(bound[2]).channels() == 8);
  CHECK(std::get<mixers::TrapezoidalScan>(bound[3]).parameters().nheads == 2);
  CHECK(std::get<mixers::Mixer>(bound[4]).name() == "GatedDeltaNet");
  CHECK(std::holds_alternative<NoMixing>(bound[5]));
}

TEST_CASE("HybridMemory: states and caches are the sums of their numbers") {
  // Jamba: 28 layers of 8,192 channels of 16 states behind a convolution of 4; 4 layers of 8 key heads of 128.
  const HybridMemoryOptions of_jamba{.cached_numbers = 2 * 8 * 128, .heads = {.num_heads = 32}};
  const HybridSchedule small = jamba(32, [](Index) { return Mamba::initial(4096, 0); });
  const HybridMemory at = memory(small, 262'144, of_jamba);
  CHECK(at.states == 28 * (8192 * 16 + 3 * 8192) * 4);
  CHECK(at.caches == 4LL * 262'144 * 2048 * 2);
  CHECK(at.attention == 32LL * 262'144 * 2048 * 2);
  CHECK(at.total() == at.states + at.caches);
  CHECK(memory(small, 0, of_jamba).total() == at.states);

  // Kimi Linear: 20 layers of 32 states of [128, 128], q, k and v convolved; 7 of MLA, 576 numbers a token.
  const HybridMemory kimi = memory(kimi_linear(27, KDA{32, 128, 128}), 1000,
                                   {.cached_numbers = 512 + 64, .heads = {.num_heads = 32}});
  CHECK(kimi.states == 20 * (32 * 128 * 128 + 3 * 3 * 4096) * 4);
  CHECK(kimi.caches == 7 * 1000 * 576 * 2);
  // Mamba-2 convolves x and the B and C of its groups.
  Mamba2 grouped = Mamba2::initial(4096, 0);
  grouped.ngroups = 8;
  const HybridMemory nemotron = memory(nemotron_h(grouped), 10, {.cached_numbers = 2048});
  CHECK(nemotron.states == 24 * (128 * 128 * 64 + 3 * (8192 + 2 * 8 * 128)) * 4);
  CHECK(nemotron.attention == (24 + 4) * 10 * 2048 * 2);  // MLPs would not attend either

  // A convolution's state is what ShortConvolution keeps.
  CHECK(mixers::ShortConvolution({.channels = 40, .weight = std::vector<float>(160)})
            .state()
            .bytes() == 3 * 48 * 4);
  const auto states = [](const mixers::AnyMixer& mixer) {
    return memory(HybridSchedule::uniform(1, mixer), 5, {.cached_numbers = 1}).states;
  };
  CHECK(states({Mamba::initial(20, 0), 4}) - states({Mamba::initial(20, 0), 0}) == 3 * 48 * 4);
  CHECK(states(mixers::RWKV4::initial(32, 0, 2)) == 4 * 32 * 4);
  // Mamba-3: S, and of the last token k, x, gamma, alpha and an angle in two doubles.
  CHECK(states(mixers::Mamba3::initial(32, 2, 16, 16)) ==
        4 * (16 * 16 + 16 + 16 + 2) * 4 + 4 * 4 * 16);
}

TEST_CASE("HybridMemory: a cache holds what masks show") {
  const auto cached = [](const AnyEncoding& encoding, Index tokens) {
    return memory(HybridSchedule::uniform(2, encoding), tokens,
                  {.cached_numbers = 3, .element_bytes = 4, .heads = {.num_heads = 2}})
        .caches;
  };
  for (const Index tokens : {0, 1, 99, 100, 101, 5000}) {
    CHECK(cached(Causal{}, tokens) == 24 * tokens);
    CHECK(cached(SlidingWindow::from_token_count(100), tokens) ==
          24 * std::min<Index>(tokens, 100));
    CHECK(cached(SinkWindow{.sinks = 4, .window = 100}, tokens) ==
          24 * std::min<Index>(tokens, 104));
    CHECK(cached(ChunkedCausal{64}, tokens) == 24 * (tokens == 0 ? 0 : (tokens - 1) % 64 + 1));
  }
  // A mask that says nothing of tiles may show all.
  CHECK(cached(encoding(mask([](const Score&) { return false; })), 50) == 24 * 50);
}

TEST_CASE("HybridMemory: explained by layers and lengths") {
  const std::vector<Index> lengths{1000, 131'072};
  const std::string text =
      explain(nemotron_h(small_mamba2, "M-M*E-"), lengths, {.cached_numbers = 2048});
  CHECK_THAT(text, ContainsSubstring("Mamba2             2 layers: 0 2\n"));
  CHECK_THAT(text, ContainsSubstring("no mixing          3 layers: 1 4-5\n"));
  CHECK_THAT(text, ContainsSubstring("attention          1 layers: 3\n"));
  CHECK_THAT(text, ContainsSubstring("131072"));
  CHECK_THAT(text, ContainsSubstring("512 MiB"));    // the cache
  CHECK_THAT(text, ContainsSubstring("1.5 GiB\n"));  // three of them
  CHECK_THAT(text, ContainsSubstring("5.5 KiB"));    // 2 (2 16 16 + 3 (32 + 32)) 4
}

TEST_CASE("HybridSchedule: wrong values are sentences") {
  CHECK(problems_of([] { (void)hybrid_by_pattern("Mx*y", small_mamba, Causal{}); }) ==
        std::vector<std::string>{
            "layer 1 must be M (a mixer), * (attention), - (an MLP) or E (experts), got x.",
            "layer 3 must be M (a mixer), * (attention), - (an MLP) or E (experts), got y."});
  CHECK_THROWS_WITH(nemotron_h(small_mamba2, ""), ContainsSubstring("is empty"));
  CHECK_THROWS_WITH(jamba(8, small_mamba, 8, 8),
                    ContainsSubstring("the offset must lie within [0, period = 8), got 8"));
  CHECK_THROWS_WITH(jamba(0, small_mamba), ContainsSubstring("at least one layer, got 0"));
  CHECK_THROWS_WITH(qwen3_next(4, GatedDeltaNet{2, 16, 16}, Causal{}, 0),
                    ContainsSubstring("the period must be positive, got 0"));
  CHECK_THROWS_WITH(HybridSchedule{}.check(), ContainsSubstring("at least one layer"));
  CHECK_THROWS_WITH(jamba(8, small_mamba).at(8),
                    ContainsSubstring("layers count from 0 to 7, got 8"));
  CHECK_THROWS_WITH(jamba(8, small_mamba).bind({.num_heads = 1})[-1], ContainsSubstring("got -1"));

  // Every kind says all that is wrong with it.
  Mamba broken = Mamba::initial(8, 0);
  broken.D.pop_back();
  const HybridSchedule wrong{.kinds = {RoPE<HalfSplit>{.head_dim = 7} | Causal{},
                                       mixers::AnyMixer(broken, 1), Causal{}},
                             .of_layer = {0, 1, 2}};
  const std::vector<std::string> problems =
      problems_of([&] { (void)wrong.bind({.num_heads = 1}); });
  REQUIRE(problems.size() == 3);
  CHECK_THAT(problems[0], StartsWith("layers of kind 0: "));
  CHECK(problems[1] ==
        "layers of kind 1: conv_width must lie within [2, 16], or be 0 without a convolution, got "
        "1.");
  CHECK_THAT(problems[2], StartsWith("layers of kind 1: D must have a number"));

  const HybridSchedule one = HybridSchedule::uniform(1, Causal{});
  const std::vector<std::string> options =
      problems_of([&] { (void)memory(one, -1, {.cached_numbers = 0, .element_bytes = 9}); });
  REQUIRE(options.size() == 3);
  CHECK_THAT(options[0], ContainsSubstring("must be positive, got 0"));
  CHECK_THAT(options[1], ContainsSubstring("must lie within [1, 8], got 9"));
  CHECK_THAT(options[2], ContainsSubstring("must lie within [0, 2^52], got -1"));
  CHECK_THROWS_WITH(memory(one, greatest_position, {.cached_numbers = 4096}),
                    ContainsSubstring("is above 2^55 bytes"));

  config::Model model{.model_type = "own"};
  CHECK_THROWS_WITH(hybrid_schedule(model, small_mamba), ContainsSubstring("how many layers"));
  model.num_layers = 2;
  model.layers.push_back({.name = "full_attention", .layers = {1}});
  CHECK_THROWS_WITH(hybrid_schedule(model, small_mamba),
                    ContainsSubstring("1 of the 2 layers are of no kind"));
  model.layers.push_back({.name = "linear_attention", .attends = false, .layers = {2}});
  CHECK_THROWS_WITH(hybrid_schedule(model, small_mamba),
                    ContainsSubstring("layer 2 is none of the 2 layers"));
  model.layers.back() = {.name = "conv", .attends = false, .layers = {0}};
  CHECK(problems_of([&] { (void)hybrid_schedule(model, small_mamba); }) ==
        std::vector<std::string>{"layers of the kind conv are neither attention, nor "
                                 "linear_attention, nor without mixing."});
  CHECK_THROWS_WITH(layer_schedule(model), ContainsSubstring("hybrid_schedule"));
}

}  // namespace hybrid_schedule_cases
