// SPDX-License-Identifier: MIT
//
// Which key wins, what other spellings mean, and which layers do what.
#include "fixture.hpp"

using posenc::Index;
using posenc::huggingface::LayoutName;
using posenc::huggingface::parse;

namespace rules_cases {

json scaled(const json& rope, const json& more = json::object()) {
  json config = llama({{"rope_scaling", rope}, {"max_position_embeddings", 16384}});
  config.update(more);
  return config;
}
const json yarn4 = {
    {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 4096}};

json with(json object, const json& more) {
  object.update(more);
  return object;
}

template <class T>
const T& scheme(const Model& model) {
  return std::get<T>(std::get<posenc::config::Scheme>(rotation(model).scheme).rule);
}
template <class T>
const T& length_scheme(const Model& model) {
  return std::get<T>(std::get<posenc::config::LengthScheme>(rotation(model).scheme).rule);
}

TEST_CASE("base: dictionary, file, older spelling, default of the architecture") {
  CHECK(rotation(parse(llama({{"rope_theta", nullptr}}))).base == 10000);
  CHECK(rotation(parse(llama({{"rope_theta", 5e5}}))).base == 5e5);
  CHECK(
      rotation(parse(llama({{"rope_theta", nullptr},
                            {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7e5}}}})))
          .base == 7e5);
  json neox = llama({{"model_type", "gpt_neox"}, {"rotary_emb_base", 25000}});
  neox.erase("rope_theta");
  CHECK(rotation(parse(neox)).base == 25000);
  json qwen_vl = llama({{"model_type", "qwen2_vl"}, {"hidden_size", 1024}});
  qwen_vl.erase("rope_theta");
  CHECK(rotation(parse(qwen_vl)).base == 1e6);
  CHECK_THAT(notes_of(parse(qwen_vl)), ContainsSubstring("rope_theta is absent"));
}

TEST_CASE("rope_parameters and rope_scaling are two spellings of one dictionary") {
  const json theta = {{"rope_theta", nullptr}};
  CHECK(rotation(parse(scaled(yarn4))).type == "yarn");
  CHECK(rotation(parse(llama({{"rope_parameters", yarn4}, {"max_position_embeddings", 16384}})))
            .type == "yarn");
  json legacy = with(yarn4, {{"type", "yarn"}});
  legacy.erase("rope_type");
  CHECK(rotation(parse(scaled(legacy))).type == "yarn");
  CHECK(
      rotation(parse(scaled(legacy, {{"rope_parameters", with(yarn4, {{"rope_theta", 10000.0}})}})))
          .type == "yarn");
  CHECK(rotation(parse(llama({{"rope_scaling", nullptr}}))).type == "default");
  CHECK(rotation(parse(llama({{"rope_scaling", json::object()}}))).type == "default");
}

TEST_CASE("aliases of rope_type") {
  const json lists = {{"short_factor", std::vector<double>(32, 1.0)},
                      {"long_factor", std::vector<double>(32, 4.0)},
                      {"original_max_position_embeddings", 4096}};
  for (const char* name : {"su", "longrope"}) {
    const auto rope = length_scheme<posenc::LongRoPE>(parse(scaled(with(lists, {{"type", name}}))));
    CHECK(rope.factor == 4);
    CHECK(rope.resolve_attention_factor(1) ==
          Approx(std::sqrt(1 + std::log(4.0) / std::log(4096.0))));
  }
  const auto early =
      length_scheme<posenc::LongRoPE>(parse(scaled(with(lists, {{"type", "yarn"}}))));
  CHECK(early.resolve_attention_factor(1) == Approx(1 + 0.1 * std::log(4.0)));

  const Model axes =
      parse(llama({{"rope_scaling", {{"type", "mrope"}, {"mrope_section", {8, 12, 12}}}}}));
  CHECK(rotation(axes).type == "default");
  CHECK(rotation(axes).axes.rule == posenc::MRoPE{.sections = {8, 12, 12}});
  CHECK(
      wrong_with(
          llama({{"rope_scaling",
                  {{"type", "mrope"}, {"rope_type", "default"}, {"mrope_section", {8, 12, 12}}}}}))
          .empty());
}

TEST_CASE("longrope: the list by length, or one of them") {
  const json config = scaled({{"rope_type", "longrope"},
                              {"short_factor", std::vector<double>(32, 1.0)},
                              {"long_factor", std::vector<double>(32, 4.0)},
                              {"short_mscale", 1.5},
                              {"long_mscale", 1.25},
                              {"original_max_position_embeddings", 4096}});
  const auto by_length = rotation(parse(config));
  CHECK(by_length.depends_on_length());
  CHECK(by_length.state(4096).inv_freq[0] == 1);
  CHECK(by_length.state(4097).inv_freq[0] == 0.25);
  CHECK(by_length.state(4096).attention_factor == 1.5);
  CHECK(by_length.state(4097).attention_factor == 1.25);
  const auto lists = [&](posenc::LongRoPESelection choice) {
    return rotation(parse(config, {.long_rope = choice})).state().inv_freq[0];
  };
  CHECK(lists(posenc::LongRoPESelection::always_long) == 0.25);
  CHECK(lists(posenc::LongRoPESelection::always_short) == 1);
}

TEST_CASE("original context: file, dictionary, longest position") {
  const auto original = [](const json& config) { return rotation(parse(config)).trained_context; };
  CHECK(original(scaled(yarn4)) == 4096);
  CHECK(original(scaled(yarn4, {{"original_max_position_embeddings", 8192}})) == 8192);
  CHECK_THAT(notes_of(parse(scaled(yarn4, {{"original_max_position_embeddings", 8192}}))),
             ContainsSubstring("original_max_position_embeddings wins over "
                               "rope_scaling.original_max_position_embeddings = 4096"));
  CHECK(original(llama({{"rope_scaling", {{"type", "yarn"}, {"factor", 4}}}})) == 4096);
}

TEST_CASE("yarn: defaults, null, zero and the resolver of its attention factor") {
  const auto parsed = [](const json& more) {
    return scheme<posenc::YaRN>(parse(scaled(with(yarn4, more))));
  };
  CHECK(parsed({{"beta_fast", 0}, {"beta_slow", nullptr}}).beta_fast == 32);
  CHECK(parsed({{"beta_fast", 0}, {"beta_slow", nullptr}}).beta_slow == 1);
  CHECK(parsed({{"beta_fast", 16}, {"beta_slow", 2}}).beta_fast == 16);
  CHECK(parsed({{"factor", nullptr}}).factor == 4);
  CHECK_FALSE(parsed({{"truncate", false}}).truncate);

  const double m = 1 + 0.1 * std::log(4.0);
  const auto amplitude = [&](const json& more, const char* model_type = "llama") {
    return rotation(parse(scaled(with(yarn4, more), {{"model_type", model_type}})))
        .state()
        .attention_factor;
  };
  CHECK(amplitude(json::object()) == Approx(m));
  CHECK(amplitude({{"attention_factor", 1.5}, {"mscale", 1.0}, {"mscale_all_dim", 1.0}}) == 1.5);
  CHECK(amplitude({{"attn_factor", 2.0}}) == Approx(2 * m));
  CHECK(amplitude({{"mscale", 1.0}, {"mscale_all_dim", 1.0}}) == 1);
  CHECK(amplitude({{"mscale", 0.707}}) == Approx(m));  // only together
  CHECK(amplitude({{"mscale", 2.0}, {"mscale_all_dim", 1.0}}) ==
        Approx((1 + 0.2 * std::log(4.0)) / m));
  CHECK(amplitude({{"mscale", 0.5}}, "deepseek_v3") == Approx(1 + 0.05 * std::log(4.0)));
}

TEST_CASE("yarn that was not finetuned follows the length") {
  const auto rotary = rotation(parse(scaled(with(yarn4, {{"finetuned", false}}))));
  CHECK(rotary.depends_on_length());
  const auto plain = rotary.unscaled_state(), is_long = rotary.state(16384);
  CHECK((rotary.state(4096).inv_freq == plain.inv_freq).all());
  CHECK(is_long.attention_factor == Approx(1 + 0.1 * std::log(4.0)));
  CHECK_FALSE(rotation(parse(scaled(with(yarn4, {{"finetuned", true}})))).depends_on_length());
}

TEST_CASE("dynamic, with alpha and without; ntk of vLLM") {
  const auto dynamic = length_scheme<posenc::DynamicNTK>(
      parse(llama({{"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}})));
  CHECK(dynamic.original_context == 4096);
  CHECK(dynamic.factor == 2);
  CHECK(scheme<posenc::NTK>(parse(llama({{"rope_scaling", {{"type", "dynamic"}, {"alpha", 8.0}}}})))
            .alpha == 8);
  CHECK(scheme<posenc::NTK>(parse(llama({{"rope_scaling", {{"type", "ntk"}, {"factor", 8}}}})))
            .form == posenc::NTKForm::su_fixed);
  const auto mixed = scheme<posenc::NTK>(
      parse(llama({{"rope_scaling", {{"type", "ntk"}, {"factor", 8}, {"mixed_b", 0.75}}}})));
  CHECK(mixed.form == posenc::NTKForm::su_mixed);
  CHECK(mixed.exponent == 0.75);
}

TEST_CASE("the two meanings of a partial rotary factor") {
  const auto leading = rotation(parse(llama({{"partial_rotary_factor", 0.5}})));
  CHECK(leading.rotary_dim == 32);
  CHECK(leading.state().inv_freq[1] == Approx(std::pow(10000.0, -2 / 32.0)));
  const auto spread = rotation(parse(
      llama({{"rope_scaling", {{"rope_type", "proportional"}, {"partial_rotary_factor", 0.5}}}})));
  CHECK(spread.rotary_dim == 64);
  CHECK(spread.state().inv_freq[1] == Approx(std::pow(10000.0, -2 / 64.0)));
  CHECK(spread.state().inv_freq[16] == 0);
  CHECK(rotation(parse(llama({{"model_type", "stablelm"}}))).rotary_dim ==
        16);  // default of its code
}

TEST_CASE("a dictionary per kind of layer") {
  const json config =
      llama({{"model_type", "qwen3"},
             {"sliding_window", 128},
             {"use_sliding_window", true},
             {"layer_types",
              {"sliding_attention", "full_attention", "sliding_attention", "full_attention"}},
             {"rope_theta", nullptr},
             {"rope_parameters",
              {{"full_attention", {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 1e6}}},
               {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}}}}});
  const Model model = parse(config);
  CHECK(rotation(model).base == 1e6);
  CHECK(rotation(model).factor == 2);
  CHECK(rotation(model, "sliding_attention").base == 1e4);
  CHECK(rotation(model, "sliding_attention").factor == 1);
  CHECK(kind(model, "sliding_attention").layers == std::vector<Index>{0, 2});
}

TEST_CASE("layout: caller, rope_interleave, table") {
  CHECK(rotation(parse(llama({{"model_type", "gptj"}, {"rotary_dim", 32}}))).layout ==
        LayoutName::interleaved);
  CHECK(rotation(parse(llama({{"model_type", "gptj"}, {"rotary_dim", 32}}),
                       {.layout = LayoutName::half_split}))
            .layout == LayoutName::half_split);
  CHECK(
      rotation(parse(llama({{"model_type", "deepseek_v3"}, {"rope_interleave", false}}))).layout ==
      LayoutName::half_split);
  CHECK(rotation(parse(llama({{"model_type", "new_model"}}), {.layout = LayoutName::interleaved}))
            .layout == LayoutName::interleaved);
}

TEST_CASE("which layers slide") {
  const auto sliding = [](const json& more) {
    const Model model = parse(llama(more));
    for (const LayerKind& layer : model.layers)
      if (layer.window != 0) return layer.layers;
    return std::vector<Index>{};
  };
  CHECK(sliding({{"sliding_window", 128}}).empty());  // the code of llama does not read it
  CHECK(sliding({{"model_type", "mistral"}, {"sliding_window", 128}}) ==
        std::vector<Index>{0, 1, 2, 3});
  CHECK(sliding({{"model_type", "mistral"}, {"sliding_window", nullptr}}).empty());
  CHECK(kind(parse(llama({{"model_type", "mistral"}})), "sliding_attention").window ==
        4096);  // its default
  const json qwen = {{"model_type", "qwen2"}, {"sliding_window", 128}, {"max_window_layers", 3}};
  CHECK(sliding(qwen).empty());
  CHECK(sliding(with(qwen, {{"use_sliding_window", true}})) == std::vector<Index>{3});
  CHECK(sliding({{"model_type", "gemma2"}, {"sliding_window", 128}}) == std::vector<Index>{0, 2});
  CHECK(sliding({{"model_type", "exaone4"},
                 {"sliding_window", 128},
                 {"sliding_window_pattern", "LG"}}) == std::vector<Index>{0, 2});
}

TEST_CASE("which layers rotate") {
  const Model listed = parse(llama({{"model_type", "smollm3"}, {"no_rope_layers", {1, 0, 0, 1}}}));
  CHECK(kind(listed, "no_rope").layers == std::vector<Index>{1, 2});
  const Model every = parse(llama({{"model_type", "smollm3"}, {"no_rope_layer_interval", 2}}));
  CHECK(kind(every, "no_rope").layers == std::vector<Index>{1, 3});
  const Model exaone = parse(llama({{"model_type", "exaone4"}, {"sliding_window", nullptr}}));
  CHECK(exaone.layers.size() == 1);
  CHECK(exaone.layers.front().rotary.has_value());
}

TEST_CASE("the language part of a multimodal model") {
  json outer = {{"model_type", "gemma3"},
                {"text_config", llama({{"model_type", "gemma3_text"}, {"rope_theta", nullptr}})}};
  CHECK(rotation(parse(outer), "sliding_attention").base == 10000);
  outer["text_config"].erase("model_type");
  CHECK(parse(outer).layers.size() == 1);  // four layers, and every sixth is full
}

/// The same components, to the number and to the frequencies that they end in.
template <class E>
bool same_encoding(const posenc::AnyEncoding& any, const E& known) {
  const posenc::AnyBound a = posenc::bind(any, {.num_heads = 8, .head_dim = 64}),
                         b = posenc::bind(posenc::AnyEncoding(known),
                                          {.num_heads = 8, .head_dim = 64});
  return any.size() == std::remove_cvref_t<decltype(known)>::size &&
         a.rotary().layout == b.rotary().layout && a.scale(64) == b.scale(64) &&
         a.rotary().state.inv_freq.size() == b.rotary().state.inv_freq.size() &&
         (a.rotary().state.inv_freq == b.rotary().state.inv_freq).all() &&
         a.answers().visible({9, 3, 9, 3, 0}) == b.answers().visible({9, 3, 9, 3, 0});
}

TEST_CASE("visit calls once, with the encoding of the layer") {
  const auto name = [](const json& config) {
    const Model model = parse(config);
    const LayerKind& layer = model.layers.front();
    return layer.visit([&](const auto& encoding) {
      CHECK(same_encoding(layer.encoding(), encoding));
      std::string components;
      encoding.for_each([&]<class T>(const T&) {
        if constexpr (posenc::RotaryBase<T>)
          components +=
              std::is_same_v<typename T::layout, posenc::HalfSplit> ? "half " : "interleaved ";
        if constexpr (std::is_same_v<T, posenc::config::Scheme>) components += "static ";
        if constexpr (std::is_same_v<T, posenc::config::LengthScheme>) components += "dynamic ";
        if constexpr (std::is_same_v<T, posenc::Causal>) components += "causal";
        if constexpr (std::is_same_v<T, posenc::SlidingWindow>) components += "window";
        if constexpr (std::is_same_v<T, posenc::ALiBi>) components += "alibi ";
      });
      return components;
    });
  };
  CHECK(name(llama()) == "half static causal");
  CHECK(name(llama({{"model_type", "gptj"}, {"rotary_dim", nullptr}})) ==
        "interleaved static causal");
  CHECK(name(llama({{"model_type", "mistral"}})) == "half static window");
  CHECK(name(llama({{"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}})) ==
        "half dynamic causal");
  CHECK(name(llama({{"model_type", "bloom"}})) == "alibi causal");
  CHECK(name(llama({{"model_type", "gpt2"}})) == "causal");
}

TEST_CASE("base of sliding layers: their dictionary, the local spelling, the class") {
  const auto base = [](const char* type, const json& sliding, const json& more) {
    json config = {{"model_type", type},
                   {"rope_parameters",
                    {{"full_attention", {{"rope_type", "linear"}, {"factor", 8}}},
                     {"sliding_attention", sliding}}}};
    config.update(more);
    return rotation(parse(config), "sliding_attention").base;
  };
  const json plain = {{"rope_type", "default"}};
  CHECK(base("gemma3_text", plain, {{"rope_theta", 1e6}}) == 10000);
  CHECK(base("gemma3_text", plain, {{"rope_theta", 1e6}, {"rope_local_base_freq", 5e3}}) == 5000);
  CHECK(base("gemma3_text", plain, json::object()) == 10000);
  CHECK(base("gemma3n_text", plain, json::object()) == 10000);
  CHECK(base("modernbert", plain, {{"local_rope_theta", 7e3}}) == 7000);
  CHECK(base("gemma3_text", {{"rope_type", "default"}, {"rope_theta", 3e3}}, json::object()) ==
        3000);
}

TEST_CASE("two dictionaries agree in what both have") {
  const auto both = [](const json& one, const json& other) {
    return wrong_with(
        llama({{"rope_theta", nullptr},
               {"rope_parameters", with({{"rope_type", "linear"}, {"factor", 2}}, one)},
               {"rope_scaling", with({{"type", "linear"}, {"factor", 2}}, other)}}));
  };
  const json none = json::object();
  CHECK(both({{"rope_theta", 5e5}}, none) == "");
  CHECK(both({{"rope_theta", 5e5}}, {{"rope_theta", 5e5}}) == "");
  CHECK_THAT(both({{"rope_theta", 5e5}}, {{"rope_theta", 1e6}}), ContainsSubstring("contradict"));
  CHECK_THAT(both({{"partial_rotary_factor", 0.5}}, {{"partial_rotary_factor", 1}}),
             ContainsSubstring("contradict"));
  const json plain = {{"rope_type", "default"}};
  const auto aliases = [&](double base) {
    return wrong_with(llama({{"rope_parameters",
                              {{"full_attention", with(plain, {{"rope_theta", 5e5}})},
                               {"attention", with(plain, {{"rope_theta", base}})}}}}));
  };
  CHECK(aliases(5e5) == "");
  CHECK_THAT(aliases(1e6), ContainsSubstring("one kind of layer and contradict"));
  CHECK(rotation(parse({{"model_type", "gpt_oss"}, {"rope_scaling", none}})).type == "yarn");
}

TEST_CASE("masks: keys that the code does not read change none") {
  const json list = {"sliding_attention", "full_attention", "chunked_attention", "full_attention"};
  const Model model = parse(llama({{"layer_types", list}, {"sliding_window", 16}}));
  CHECK(model.layers.size() == 1);
  CHECK(kind(model, "full_attention").window == 0);
  CHECK_THAT(notes_of(model), ContainsSubstring("ignored: layer_types lists 2 layers") &&
                                  ContainsSubstring("ignored: sliding_window = 16"));
  for (const char* type : {"gemma2", "gpt_oss", "olmo3", "kolibri1"}) {
    const Model without = parse({{"model_type", type}}),
                given = parse({{"model_type", type}, {"sliding_window_pattern", 3}});
    CHECK(kind(given, "sliding_attention").layers == kind(without, "sliding_attention").layers);
    CHECK_THAT(explain(given), ContainsSubstring("not read by posenc: sliding_window_pattern = 3"));
  }
  const auto full = [](const char* type, const char* key) {
    for (const LayerKind& layer : parse({{"model_type", type}, {key, 3}}).layers)
      if (layer.window == 0 && layer.attends) return layer.layers.front();
    return Index{-1};
  };
  for (const char* type : {"gemma3_text", "cohere2", "exaone4", "exaone_moe"})
    CHECK(full(type, "sliding_window_pattern") == 2);
  CHECK(full("afmoe", "global_attn_every_n_layers") == 2);
}

}  // namespace rules_cases
