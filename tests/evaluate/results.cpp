// SPDX-License-Identifier: MIT
//
// Results of evaluate: what was kept is read back as it was, and only into the same setting.
#include "../../examples/evaluate/results.hpp"

#include "../support/catch.hpp"

#include <fstream>

namespace results_cases {

using namespace posenc;
namespace fs = std::filesystem;

TEST_CASE("results are read back as they were, by a run of the same setting") {
  const fs::path folder = fs::temp_directory_path() / "posenc-results";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const evaluate::Json setting{{"lengths", {64, 128}}, {"passkey", true}};
  evaluate::Results first(folder, setting);
  CHECK(first.lines.empty());
  first.lines.push_back(
      {"YaRN",
       "YaRN{factor=2}",
       {.length = 128, .last = 1.0 / 3, .by_position = {{64, 2.5}, {128, 0.1}}, .seconds = 1.5},
       4});
  first.lines.push_back({"as trained", "RoPE", {.length = 64, .last = std::nan("")}});
  first.save();

  const evaluate::Results again(folder, setting);
  REQUIRE(again.lines.size() == 2);
  const evaluate::Line* yarn = again.find("YaRN", "YaRN{factor=2}", 128);
  REQUIRE(yarn != nullptr);
  CHECK(yarn->measured.last == 1.0 / 3);
  CHECK(yarn->measured.by_position == first.lines[0].measured.by_position);
  CHECK(yarn->measured.seconds == 1.5);
  CHECK(yarn->keys_found == 4);
  const evaluate::Line* trained = again.find("as trained", "RoPE", 64);
  REQUIRE(trained != nullptr);
  CHECK(std::isnan(trained->measured.last));
  CHECK(!trained->keys_found);
  CHECK(again.find("YaRN", "YaRN{factor=2}", 64) == nullptr);
  CHECK(again.find("YaRN", "YaRN{factor=4}", 128) == nullptr);
  CHECK(!fs::exists(folder / "results.json.new"));

  const evaluate::Json other{{"lengths", {64, 256}}, {"passkey", true}};
  CHECK_THROWS_WITH(evaluate::Results(folder, other),
                    ContainsSubstring("has results of another setting or text"));
  for (const char* text :
       {"", "[]", "{\"setting\": 1}", "{\"setting\":{\"lengths\":[64,128],\"passkey\":true}}"}) {
    std::ofstream(folder / "results.json") << text;
    CHECK_THROWS_AS(evaluate::Results(folder, setting), Error);
  }
  fs::remove_all(folder);
}

TEST_CASE("the setting tells models, texts and lengths apart") {
  evaluate::Llama model;
  model.shape.name = "m";
  model.last_norm = evaluate::Row::Ones(3);
  const std::vector<std::int32_t> tokens{1, 2, 3}, others{1, 2, 4};
  const evaluate::MeasureOptions options;
  const auto setting = evaluate::setting_of({64}, false, options, model, tokens);
  CHECK(setting == evaluate::setting_of({64}, false, options, model, tokens));
  CHECK(setting != evaluate::setting_of({128}, false, options, model, tokens));
  CHECK(setting != evaluate::setting_of({64}, true, options, model, tokens));
  CHECK(setting != evaluate::setting_of({64}, false, {.last = 7}, model, tokens));
  CHECK(setting != evaluate::setting_of({64}, false, options, model, others));
  model.last_norm[1] = 2;
  CHECK(setting != evaluate::setting_of({64}, false, options, model, tokens));
}

}  // namespace results_cases
