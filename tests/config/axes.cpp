// SPDX-License-Identifier: MIT
//
// Positions of several coordinates: what a file says of them, and what becomes of it.
#include "fixture.hpp"

#include <posenc/bind/bind.hpp>

using posenc::Index;
using posenc::MRoPE;

namespace axes_cases {

/// A language model whose heads have 128 channels.
json wide(const char* model_type, const json& rope) {
  return {{"model_type", model_type}, {"hidden_size", 1024},    {"num_attention_heads", 8},
          {"num_key_value_heads", 2}, {"num_hidden_layers", 4}, {"max_position_embeddings", 4096},
          {"rope_theta", 1000000.0},  {"rope_scaling", rope}};
}

/// The coordinate of each pair of the encoding that the layers get.
std::vector<int> axis_map(const Model& model, const std::string& name = "full_attention") {
  std::vector<int> axes;
  const posenc::AnyBound bound = posenc::bind(kind(model, name).encoding());
  if (bound.has_rotary()) {
    axes = bound.rotary().state.axis;
    CHECK(bound.rotary().state.axes == (axes.empty() ? 1 : 3));
  }
  return axes;
}

std::vector<int> in_chunks(std::initializer_list<Index> sections) {
  std::vector<int> axes;
  int axis = 0;
  for (const Index pairs : sections)
    axes.insert(axes.end(), static_cast<std::size_t>(pairs), axis++);
  return axes;
}

TEST_CASE("axes: of the published models") {
  const Model qwen25 = shipped("qwen2.5-vl-7b");
  CHECK(rotation(qwen25).axes.rule == MRoPE{.sections = {16, 24, 24}});
  CHECK(axis_map(qwen25) == in_chunks({16, 24, 24}));

  const Model qwen3 = shipped("qwen3-vl-30b-a3b");
  CHECK(rotation(qwen3).axes.rule == MRoPE{.sections = {24, 20, 20}, .interleaved = true});
  std::vector<int> expected;
  for (int i = 0; i < 64; ++i) expected.push_back(i < 60 ? i % 3 : 0);
  CHECK(axis_map(qwen3) == expected);

  for (const char* name : {"qwen3.5", "qwen3.5-yarn"}) {
    expected.clear();
    for (int i = 0; i < 32; ++i) expected.push_back(i % 3);
    CHECK(axis_map(shipped(name)) == expected);
  }
}

TEST_CASE("axes: none where the file and the model's code have none") {
  CHECK_FALSE(rotation(shipped("llama-3.1-8b")).axes.rule);
  CHECK(axis_map(shipped("llama-3.1-8b")).empty());
  CHECK(axis_map(shipped("smollm3-3b"), "no_rope").empty());
}

TEST_CASE("axes: with a scheme that depends on the length") {
  const Model model = posenc::huggingface::parse(
      wide("qwen2_vl", {{"rope_type", "dynamic"}, {"factor", 2}, {"mrope_section", {16, 24, 24}}}));
  CHECK(rotation(model).depends_on_length());
  CHECK(axis_map(model) == in_chunks({16, 24, 24}));
}

TEST_CASE("axes: the model's code decides how, and stands in for a missing key") {
  const json plain = {{"rope_type", "default"}};
  CHECK(rotation(posenc::huggingface::parse(wide("qwen2_vl", plain))).axes.rule ==
        MRoPE{.sections = {16, 24, 24}});
  CHECK(rotation(posenc::huggingface::parse(wide("qwen2_vl", {{"type", "mrope"}}))).axes.rule ==
        MRoPE{.sections = {16, 24, 24}});
  const Model qwen3 = posenc::huggingface::parse(
      wide("qwen3_vl", {{"rope_type", "default"}, {"mrope_section", {24, 20, 20}}}));
  CHECK(rotation(qwen3).axes.rule->interleaved);
  CHECK_THAT(notes_of(qwen3), ContainsSubstring("mrope_section: text has equal coordinates"));
  CHECK_THAT(notes_of(posenc::huggingface::parse(wide("qwen2_vl", plain))),
             ContainsSubstring("the model's code, which has a default mrope_section"));
  // A model_type that has no coordinates in the table goes by the keys.
  const json rope = {{"rope_type", "default"}, {"mrope_section", {24, 20, 20}}};
  json turns = rope;
  turns["mrope_interleaved"] = true;
  CHECK(rotation(posenc::huggingface::parse(wide("llama", rope))).axes.rule ==
        MRoPE{.sections = {24, 20, 20}});
  CHECK(rotation(posenc::huggingface::parse(wide("llama", turns))).axes.rule ==
        MRoPE{.sections = {24, 20, 20}, .interleaved = true});
}

TEST_CASE("axes: contradictions and sections that do not fit") {
  const auto refuses = [](const json& config, const char* why) {
    CHECK_THAT(wrong_with(config), ContainsSubstring(why));
  };
  refuses(wide("qwen3_vl", {{"rope_type", "default"},
                            {"mrope_section", {24, 20, 20}},
                            {"mrope_interleaved", false}}),
          "mrope_interleaved = false, but the code of this model_type does interleave coordinates");
  refuses(
      wide("qwen2_vl", {{"rope_type", "default"},
                        {"mrope_section", {16, 24, 24}},
                        {"mrope_interleaved", true}}),
      "mrope_interleaved = true, but the code of this model_type does not interleave coordinates");
  refuses(wide("llama", {{"rope_type", "default"}, {"mrope_interleaved", true}}),
          "rope_scaling.mrope_interleaved is given, but mrope_section is missing");
  json narrow = wide("qwen2_vl", {{"rope_type", "default"}});
  narrow["num_attention_heads"] = 16;
  refuses(narrow,
          "mrope_section is missing, and the default of the code is for 64 rotary pairs, not 32");
  for (const json& sections : {json{16, 24}, json{16, 16, 16, 16}, json{16, 24, 25},
                               json{-1, 32, 33}, json{16.5, 23.5, 24}})
    refuses(wide("qwen2_vl", {{"rope_type", "default"}, {"mrope_section", sections}}),
            "mrope_section must be three whole numbers that sum to the 64 rotary pairs");
  // Every third of 64 pairs is 21.
  refuses(wide("qwen3_vl", {{"rope_type", "default"}, {"mrope_section", {20, 22, 22}}}),
          "MRoPE: coordinate 1 takes every third pair, which 21 of 64 are");
}

TEST_CASE("axes: explain() says how pairs share them") {
  CHECK_THAT(
      explain(shipped("qwen2.5-vl-7b")),
      ContainsSubstring("pairs of (time, height, width): 16, 24, 24, one after the other\n"));
  CHECK_THAT(explain(shipped("qwen3-vl-30b-a3b")),
             ContainsSubstring("pairs of (time, height, width): 24, 20, 20, in turns\n"));
  CHECK_THAT(explain(shipped("llama-3.1-8b")), !ContainsSubstring("height"));
}

}  // namespace axes_cases
