// SPDX-License-Identifier: MIT
//
// Schedules of context length for the RoPE model, each of as many tokens as the training at the long length throughout
// that it is compared with. Stages have the published shapes, and lengths of a small model.
#pragma once

#include "schemes.hpp"

#include <posenc/schedule/presets.hpp>

namespace lab_example {

struct NamedSchedule {
  std::string name;
  std::string what;
  ContextSchedule schedule;
  bool from_trained = false;  ///< goes on from the model of the trained length
  Index steps = 0;            ///< of the schedule itself
};

/// Schedules up to 4 times the trained length, in steps of `tokens` tokens: those from random weights have `steps` of
/// them, the others `more` beyond the `steps` that the model of the trained length had.
inline std::vector<NamedSchedule> schedules(Index trained, Index tokens, Index steps, Index more) {
  const Index length = 4 * trained;
  const auto of_steps = [tokens](double count) { return count * static_cast<double>(tokens); };
  const auto text = [](Index n) { return std::to_string(n); };
  const double whole = of_steps(static_cast<double>(steps)),
               half = of_steps(0.5 * static_cast<double>(more));
  const double base = 1e5;
  const std::string up = text(trained) + ", " + text(2 * trained) + ", " + text(length);

  ContextSchedule doubling;
  for (Index n = trained / 2; n <= length; n *= 2)
    doubling.stages.push_back({.length = n,
                               .base = n > trained ? base : 0,
                               .tokens = n < length ? whole / 4 : 0,
                               .full_share = 0.4});
  const auto extended_by = [trained](Index n) {
    return AnyEncoding(
        encoding(YaRN{.factor = static_cast<double>(n) / static_cast<double>(trained),
                      .original_context = trained,
                      .beta_fast = fast_turns,
                      .beta_slow = slow_turns}));
  };
  return {
      {text(length) + " throughout",
       "one length from the first step",
       {{{.length = length}}},
       false,
       steps},
      {text(trained / 2) + " to " + text(length),
       "a quarter of the steps at each length, by doubling; base 100000 above the trained length; "
       "40 % of the "
       "sequences are that long and the others half (Qwen2.5-Turbo)",
       doubling, false, steps},
      {"SkyLadder", "rows are long throughout; what a token may see grows over 60 % of the steps",
       sky_ladder(length, 0.6 * whole, std::min<Index>(32, length)), false, steps},
      {text(length) + " throughout",
       "one length from the first step",
       {{{.length = length}}},
       false,
       steps + more},
      {up + ", base",
       "the trained model, with base 100000 half of the steps at each length; 40 % of the "
       "sequences are that long and "
       "the others half (Kimi k1.5)",
       {{{.length = 2 * trained, .base = base, .tokens = half, .full_share = 0.4},
         {.length = length, .base = base, .full_share = 0.4}}},
       true,
       more},
      {up + ", YaRN",
       "the trained model, half of the steps at each length, with YaRN for that length",
       {{{.length = 2 * trained, .tokens = half, .scheme = extended_by(2 * trained)},
         {.length = length, .scheme = extended_by(length)}}},
       true,
       more},
  };
}

}  // namespace lab_example
