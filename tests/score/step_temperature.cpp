// SPDX-License-Identifier: MIT
#include <posenc/score/step_temperature.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

TEST_CASE("StepTemperature: the steps of Llama 4") {
  const StepTemperature llama4{};
  CHECK(llama4.temperature(0) == 1);
  CHECK(llama4.temperature(8190) == 1);
  CHECK(llama4.temperature(8191) == Approx(1.069314718).epsilon(1e-9));
  CHECK(llama4.temperature(16383) == Approx(1.109861229).epsilon(1e-9));
  CHECK(llama4.temperature(131071) == Approx(1.283321334).epsilon(1e-9));
  CHECK(llama4.temperature(10485759) == Approx(1.715539630).epsilon(1e-9));
}

TEST_CASE("StepTemperature: Ministral's step is one token later") {
  const StepTemperature ministral{.scale = 0.1, .context = 16384, .shift = 0};
  CHECK(ministral.temperature(16383) == 1);
  CHECK(ministral.temperature(16384) == Approx(1.069314718).epsilon(1e-9));
}

TEST_CASE("StepTemperature: nothing happens before the sequence begins") {
  CHECK(StepTemperature{}.temperature(-20'000) == 1);
  CHECK(StepTemperature{.scale = 0}.temperature(1'000'000) == 1);
}

TEST_CASE("StepTemperature: what is wrong is said") {
  CHECK(sentences_of(StepTemperature{}).empty());
  CHECK_THAT(sentences_of(StepTemperature{.scale = -1}), ContainsSubstring("scale must be finite"));
  CHECK_THAT(sentences_of(StepTemperature{.context = 0}),
             ContainsSubstring("context must be positive"));
  CHECK_THAT(sentences_of(StepTemperature{.shift = 2}), ContainsSubstring("shift must be 0 or 1"));
}
