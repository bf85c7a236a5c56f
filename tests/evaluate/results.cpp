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
  const auto of = [&](const evaluate::Llama& m) {
    return evaluate::setting_of({64}, options, m, tokens, 1, {});
  };
  const auto setting = of(model);
  CHECK(setting == of(model));
  CHECK(setting != evaluate::setting_of({128}, options, model, tokens, 1, {}));
  CHECK(setting != evaluate::setting_of({64}, {.last = 7}, model, tokens, 1, {}));
  CHECK(setting != evaluate::setting_of({64}, options, model, others, 1, {}));
  CHECK(setting != evaluate::setting_of({64}, options, model, tokens, 2, {}));
  CHECK(setting != evaluate::setting_of({64}, options, model, tokens, {}, {}));
  const auto asked = [&](std::int32_t token) {
    return evaluate::setting_of({64}, options, model, tokens, 1, {{{token, 7}, 1}});
  };
  CHECK(setting != asked(5));
  CHECK(asked(5) != asked(6));
  evaluate::Llama other = model;
  other.last_norm[1] = 2;
  CHECK(setting != of(other));
  other = model, other.shape.epsilon = 1e-6;
  CHECK(setting != of(other));
  other = model, other.shape.vocabulary = 9;
  CHECK(setting != of(other));
}

TEST_CASE("the setting tells rotations apart that are told in the same words") {
  config::Rotation rotation{.head_dim = 4, .rotary_dim = 4, .type = "made up"};
  const auto of = [&](std::vector<double> divisors, double amplitude) {
    rotation.scheme = config::Scheme{RescaleFactors{std::move(divisors), amplitude}};
    evaluate::Llama model;
    model.shape.positions.layers = {{.name = "full", .rotary = rotation}};
    return evaluate::setting_of({64}, {}, model, {}, {}, {});
  };
  CHECK(of({1, 2}, 1) == of({1, 2}, 1));
  CHECK(of({1, 2}, 1)["rotations"] != of({1, 2 + 1e-9}, 1)["rotations"]);
  CHECK(of({1, 2}, 1)["rotations"] != of({1, 2}, 1 + 1e-9)["rotations"]);
}

TEST_CASE("a setting whose model has a name that is not UTF-8 is found again") {
  const fs::path folder = fs::temp_directory_path() / "posenc-results-utf8";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const evaluate::Json setting{{"model", "m\xff"}};
  evaluate::Results first(folder, setting);
  first.lines.push_back({"RoPE", "RoPE", {.length = 64, .last = 1}});
  first.save();
  CHECK(evaluate::Results(folder, setting).lines.size() == 1);
  fs::remove_all(folder);
}

TEST_CASE("results that are there and cannot be opened are not overwritten") {
  const fs::path folder = fs::temp_directory_path() / "posenc-results-closed";
  fs::remove_all(folder);
  fs::create_directories(folder);
  fs::create_symlink("results.json", folder / "results.json");  // leads to itself
  CHECK_THROWS_WITH(evaluate::Results(folder, evaluate::Json{{"a", 1}}),
                    ContainsSubstring("is there and cannot be opened"));
  fs::remove_all(folder);
}

}  // namespace results_cases
