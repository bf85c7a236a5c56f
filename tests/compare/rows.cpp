// SPDX-License-Identifier: MIT
//
// Which rows a model gets, and what their geometry is: closed forms and properties.
#include "../../examples/compare/schemes.hpp"

#include "../support/catch.hpp"

#include <set>

namespace rows_cases {

using namespace compare;

/// A model of one kind of layer, as its file would say it.
posenc::config::Model model_of(Position trained, bool rotates = true) {
  posenc::config::LayerKind layer{
      .name = "full_attention", .num_heads = 4, .num_kv_heads = 2, .head_dim = 16};
  if (rotates)
    layer.rotary = posenc::config::Rotation{.head_dim = 16,
                                            .rotary_dim = 16,
                                            .base = 10000,
                                            .type = "default",
                                            .trained_context = trained};
  return {.model_type = "made_up", .max_position_embeddings = trained, .layers = {layer}};
}
Setting setting_of(Position trained, Position target, bool rotates = true) {
  return choose_setting(model_of(trained, rotates), {.model = "made_up", .length = target});
}
RotationReport report_of(const std::string& expression, const Setting& at) {
  return rotation_report(
      posenc::bind(read_expression(expression, at).encoding,
                   {.num_heads = at.num_heads, .head_dim = 16, .length = at.target}),
      at);
}

TEST_CASE("Candidates need no other weights, and there are none where nothing has to be extended") {
  std::set<std::string> names;
  for (const Candidate& one : candidates(setting_of(1024, 4096))) {
    CAPTURE(one.name);
    CHECK(names.insert(plain(one.name)).second);
    CHECK_FALSE(one.rule.empty());
    CHECK_NOTHROW(read_expression(one.expression, setting_of(1024, 4096)));
  }
  CHECK(names.count("yarn") == 1);
  for (const char* trained_with : {"t5bias", "alibi", "fire", "kerplelog", "deberta", "nope"})
    CHECK(names.count(trained_with) == 0);
  CHECK(candidates(setting_of(1024, 1024)).empty());
  CHECK(candidates(setting_of(1024, 4096, false)).size() ==
        1);  // without rotation: the temperature
}

TEST_CASE("The gallery's entries say why they are no reading, and made-up weights are called so") {
  const Setting at = setting_of(1024, 4096);
  const std::set<std::string> readings{"RoPE",        "PI",         "NTK",       "NTKByParts",
                                       "YaRN",        "ABF",        "Llama3",    "ReRoPE",
                                       "LeakyReRoPE", "SelfExtend", "DualChunk", "StreamingLLM",
                                       "LMInfinite"};
  std::set<std::string> by_expression;
  for (const Candidate& one : candidates(at)) by_expression.insert(one.name);
  for (const auto& [entry, adapted] : gallery_schemes(at)) {
    const std::string name(entry.name);
    CAPTURE(name);
    if (by_expression.count(name)) continue;
    const GalleryNote note = note_of(entry, at);
    CHECK(note.why_not.empty() == (readings.count(name) > 0));
    CHECK_FALSE(note.rule.empty());
    for (const char* learned : {"T5Bias", "KerpleLog", "KerplePower", "Fire", "ShawKeys", "DeBERTa",
                                "TransformerXL", "LongRoPE"})
      if (name == learned) {
        CHECK(note.why_not.starts_with("made-up"));
      }
    std::string ignored;
    CHECK_FALSE(adapted(at, Sample(at, 1), ignored).parameters.empty());
  }
}

TEST_CASE("Pairs that did not come full circle leave without a scheme, and no others") {
  for (const auto& [trained, target] :
       std::vector<std::pair<Position, Position>>{{100, 250}, {1024, 4096}, {4096, 65536}}) {
    const Setting at = setting_of(trained, target);
    Index expected = 0;
    for (int i = 0; i < 8; ++i)
      expected += std::pow(10000.0L, -2 * i / 16.0L) * static_cast<long double>(trained) <
                  2 * std::numbers::pi_v<long double>;
    const RotationReport r = report_of("RoPE", at);
    CAPTURE(trained, target);
    CHECK(r.pairs_out == expected);
    CHECK(r.worst_ratio == Approx(static_cast<double>(target - 1) / static_cast<double>(trained)));
    CHECK(r.step == Approx(1));
    CHECK(r.seen == 1);
    const RotationReport pi = report_of("RoPE|PI", at);
    CHECK(pi.pairs_out == 0);
    CHECK(pi.step == Approx(static_cast<double>(trained) / static_cast<double>(target)));
    CHECK(report_of("RoPE|SlidingWindow{tokens=" + std::to_string(trained / 2) + "}", at).seen <
          0.6);
  }
}

TEST_CASE("Distances of the candidates that rewrite them stay within training") {
  for (const Position trained : {64, 100, 1000, 4096})
    for (const Position target : {2 * trained, 4 * trained, 7 * trained + 3, 16 * trained}) {
      const Setting at = setting_of(trained, target);
      for (const Candidate& one : candidates(at)) {
        if (one.family != Family::distance) continue;
        CAPTURE(trained, target, one.name);
        const RotationReport r = report_of(one.expression, at);
        CHECK(r.pairs_out == 0);
        CHECK(*std::max_element(r.distances.begin(), r.distances.end()) <=
              static_cast<double>(trained));
      }
    }
}

TEST_CASE("Near scores are those of the model where a scheme leaves near distances alone") {
  const Setting at = setting_of(128, 512);
  const Sample sample(at, 1);
  const auto row = [&](const char* expression) {
    Row made{.name = expression};
    made.adapted = read_expression(expression, at);
    return measure(std::move(made), at, sample);
  };
  const Row rope = row("RoPE");
  CHECK(near_change(rope, rope, at) == 0);
  CHECK(near_change(row("RoPE|ReRoPE"), rope, at) < 1e-4);
  CHECK(near_change(row("RoPE|LogN{clipped=1}"), rope, at) < 0.1);  // its temperature put aside
  CHECK(near_change(row("RoPE|PI"), rope, at) > 0.3);
  CHECK(row("RoPE|LogN{clipped=1}").rotation.score_factor ==
        Approx(std::log(512.0) / std::log(128.0)));
  CHECK(row("RoPE|ReRoPE").raw_keys);
  CHECK_FALSE(row("RoPE|YaRN").raw_keys);
}

TEST_CASE(
    "The expression for evaluate is the rotation of training, also where the file extends it") {
  CHECK(expression_for_evaluate(setting_of(128, 512), "PI{factor=4}") == "RoPE|PI{factor=4}");
  posenc::config::Model model = model_of(512);
  posenc::config::Rotation& rotary = *model.layers[0].rotary;
  rotary.scheme = posenc::config::Scheme{posenc::YaRN{.factor = 4, .original_context = 128}};
  rotary.base = 500000.25, rotary.trained_context = 128;
  const auto at = [&] { return choose_setting(model, {.model = "made_up", .length = 1024}); };
  const std::string text = expression_for_evaluate(at(), "PI{factor=4}");
  CHECK(text == "RoPE{base=500000.25}|PI{factor=4}");
  const auto frequencies = [&](const std::string& expression) {
    return posenc::bind(read_expression(expression, at()).encoding,
                        {.num_heads = 4, .head_dim = 16})
        .rotary()
        .state.inv_freq;
  };
  CHECK((frequencies(text) - frequencies("RoPE|PI{factor=4}")).abs().maxCoeff() == 0);
  CHECK(expression_for_evaluate(at(), "") == "RoPE{base=500000.25}");
  rotary.rotary_dim = 8, rotary.rotary_offset = 8;
  CHECK(expression_for_evaluate(at(), "PI{factor=4}").empty());
}

TEST_CASE("Options that would do nothing are refused") {
  const auto parse = [](std::vector<std::string> words) {
    words.insert(words.begin(), "compare");
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    return parse_command_line(static_cast<int>(pointers.size()), pointers.data());
  };
  CHECK_FALSE(parse({"config.json", "--layout", "half_split"})->has_weights());
  CHECK(parse({"model.GGUF", "--text", "t", "--minutes", "2", "--threads", "1"})->has_weights());
  CHECK_THROWS_WITH(parse({"model.gguf", "--minutes", "2"}),
                    ContainsSubstring("there is no --text"));
  CHECK_THROWS_WITH(parse({"model.gguf", "--threads", "2"}),
                    ContainsSubstring("--threads: is for"));
  CHECK_THROWS_WITH(parse({"model.Gguf", "--layout", "half_split"}),
                    ContainsSubstring("--layout is for a config.json"));
  CHECK_THROWS_WITH(parse({"model.gguf", "--ignore-unknown-keys"}),
                    ContainsSubstring("--ignore-unknown-keys is for a config.json"));
  CHECK(parse({"config.json", "--rounds", "2"})->rounds == 2);
  CHECK_THROWS_WITH(parse({"config.json", "--rounds", "0"}),
                    ContainsSubstring("--rounds must lie within [1, 1000], got 0."));
}

TEST_CASE("An expression begins with the model's rotation, its own, or none") {
  const Setting at = setting_of(128, 512);
  const auto rotary = [&](const std::string& text) {
    return posenc::bind(read_expression(text, at).encoding, {.num_heads = 4, .head_dim = 16})
        .rotary()
        .state.inv_freq;
  };
  CHECK(rotary("RoPE|PI{factor=2}")[0] == Approx(0.5));
  CHECK(rotary(" RoPE | PI{factor=2}")[0] == Approx(0.5));
  CHECK(rotary("RoPE{base=256}|Causal")[1] == Approx(0.5));  // 256^(-2/16)
  CHECK(rotary("ALiBi").size() == 0);
  CHECK(read_expression("RoPE|PI{factor=2}", at).parameters == "PI{factor=2}");
  CHECK_THROWS_AS(read_expression("RoPE|Foo", at), posenc::Error);
  CHECK_THROWS_AS(read_expression("", at), posenc::Error);
}

}  // namespace rows_cases
