// SPDX-License-Identifier: MIT
//
// tests/golden/rope_parameters.json: inverse frequencies and attention factors of Hugging Face's
// own functions, in float32, for some hundred configurations. The whole path from the file's keys
// is compared.
#include "fixture.hpp"

#include <fstream>

namespace golden_rope_parameters_cases {

bool refused_on_purpose(const json& test) {
  const std::string name = test.at("name");
  return name == "factor below 1"                 // Hugging Face only warns
         || name == "factor overrides the ratio"  // lengths contradict the factor
         || name == "ratio below 1: amplitude 1"  // extended length shorter than the original
         || name == "attention_factor zero is honoured";  // scores would vanish
}

TEST_CASE("golden: Hugging Face's rotary parameters from its own keys") {
  std::ifstream file(std::string(POSENC_GOLDEN_DIR) + "/rope_parameters.json");
  REQUIRE(file);
  const json golden = json::parse(file);
  int compared = 0, refused = 0;
  for (const json& test : golden.at("cases")) {
    INFO("case " << test.at("id") << " " << test.at("name") << " " << test.at("config").dump());
    json config = test.at("config");
    config["model_type"] = "llama";
    const std::string wrong = wrong_with(config);
    if (refused_on_purpose(test)) {
      CHECK_FALSE(wrong.empty());
      ++refused;
      continue;
    }
    REQUIRE(wrong == "");
    const Model model = posenc::huggingface::parse(config);
    REQUIRE(model.layers.size() == 1);
    const auto& rotary = *model.layers.front().rotary;
    const posenc::Position length =
        test.at("seq_len").is_null() ? 0 : test.at("seq_len").get<posenc::Position>();
    const auto state = rotary.state(length);
    CHECK(rotary.rotary_dim == test.at("rotary_dim").get<posenc::Index>());
    CHECK(state.attention_factor ==
          Approx(test.at("attention_factor").get<double>()).epsilon(1e-12));
    const auto expected = test.at("inv_freq").get<std::vector<double>>();
    REQUIRE(state.inv_freq.size() == std::ssize(expected));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      INFO("pair " << i);
      // float32 powers, divisions and a blend: a few units in the last place, more in steep ramps
      CHECK(std::abs(state.inv_freq[static_cast<posenc::Index>(i)] - expected[i]) <=
            4e-6 * expected[i]);
    }
    ++compared;
  }
  CHECK(compared > 400);
  CHECK(refused == 7);
}

}  // namespace golden_rope_parameters_cases
