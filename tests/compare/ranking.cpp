// SPDX-License-Identifier: MIT
//
// The order of schemes and the advice: they follow from numbers, which are made up here.
#include "../../examples/compare/advice.hpp"

#include "../support/catch.hpp"

#include <random>

namespace ranking_cases {

using namespace compare;

const Evidence within{}, leaves{.pairs_out = 3, .worst_ratio = 1.4},
    leaves_far{.pairs_out = 3, .worst_ratio = 4}, moves{.step = 0.25}, forgets{.reads_all = false};

TEST_CASE("A scheme has the class of its worst fault") {
  CHECK(class_of(within) == Class::within);
  CHECK(class_of(leaves) == Class::leaves);
  CHECK(class_of(moves) == Class::moves);
  CHECK(class_of(forgets) == Class::forgets);
  CHECK(class_of({.pairs_out = 3, .step = 0.25}) == Class::moves);
  CHECK(class_of({.step = 0.25, .reads_all = false}) == Class::forgets);
}

TEST_CASE("Schemes are ordered by class, distance out, near scores, entropy and time") {
  const std::vector<Evidence> all{
      forgets,
      moves,
      leaves_far,
      leaves,
      {.near_change = 0.4},
      {.entropy = 5, .entropy_then = 3},
      {.entropy = 1, .entropy_then = 3.5},  // less is as far away as more
      {.time = 1.3},
      within,
  };
  CHECK(ranked(all) == std::vector<std::size_t>{8, 7, 5, 6, 4, 3, 2, 1, 0});
}

TEST_CASE("Differences below the resolution leave the order as it was") {
  CHECK(ranked(std::vector<Evidence>{
            {.near_change = 0.02}, {.near_change = 0.01}, {.time = 1.02}, {.time = 1.01}}) ==
        std::vector<std::size_t>{0, 1, 2, 3});
}

TEST_CASE("What was measured comes first, from the least loss") {
  Evidence bad = forgets, good = leaves_far, middle = within;
  bad.nats = 4.0, good.nats = 3.0, middle.nats = 3.5;
  CHECK(ranked(std::vector<Evidence>{within, bad, middle, good}) ==
        std::vector<std::size_t>{3, 2, 1, 0});
}

TEST_CASE("Losses of the model as it is and as its file has it decide nothing alone") {
  Evidence unchanged = leaves_far, configured = leaves;
  unchanged.given = configured.given = true;
  unchanged.nats = 2.0, configured.nats = 3.0;
  CHECK(ranked({unchanged, configured, within}) == std::vector<std::size_t>{2, 1, 0});
  Evidence measured = moves;
  measured.nats = 4.0;
  CHECK(ranked({within, measured, configured, unchanged}) == std::vector<std::size_t>{3, 2, 1, 0});
}

TEST_CASE("A loss that is no number comes last") {
  Evidence broken = within, good = leaves_far;
  broken.nats = std::nan(""), good.nats = 3.0;
  CHECK(ranked({broken, forgets, good}) == std::vector<std::size_t>{2, 1, 0});
  CHECK(ranked({broken, forgets}) == std::vector<std::size_t>{1, 0});
}

TEST_CASE("The order is a strict weak one") {
  std::mt19937 random(7);
  const auto draw = [&](int values) {
    return static_cast<int>(random() % static_cast<unsigned>(values));
  };
  std::vector<Evidence> all;
  for (int i = 0; i < 40; ++i) {
    Evidence e{.pairs_out = draw(2),
               .worst_ratio = 1.0 + draw(3),
               .step = draw(2) ? 1.0 : 0.25,
               .near_change = 0.06 * draw(5),
               .entropy = 0.06 * draw(5),
               .time = 1 + 0.03 * draw(3),
               .reads_all = draw(3) > 0};
    if (draw(3) == 0) e.nats = draw(3) == 0 ? std::nan("") : 3 + draw(2);
    if (draw(9) == 0) e.worst_ratio = HUGE_VAL;  // a pair that never turned in training
    all.push_back(e);
  }
  const auto alike = [](const Evidence& a, const Evidence& b) {
    return !comes_before(a, b) && !comes_before(b, a);
  };
  int broken = 0;
  for (const Evidence& a : all)
    for (const Evidence& b : all)
      for (const Evidence& c : all) {
        broken += comes_before(a, b) && comes_before(b, a);
        broken += comes_before(a, b) && comes_before(b, c) && !comes_before(a, c);
        broken += alike(a, b) && alike(b, c) && !alike(a, c);
      }
  CHECK(broken == 0);
}

std::string all_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}
bool says(const std::vector<std::string>& lines, const std::string& words) {
  INFO(all_of(lines));
  return all_of(lines).find(words) != std::string::npos;
}

const Question question{.trained = 4096, .target = 16384, .promised = 4096};

TEST_CASE("The first of the ranking is what to begin with") {
  const std::vector<Choice> ordered{{"A", "A{window=8}", within, true},
                                    {"B", "B{factor=4}", within},
                                    {"RoPE", "", leaves_far, false, true}};
  const auto lines = advice(question, ordered);
  CHECK(lines.front() == "Begin with A (`A{window=8}`).");
  CHECK(says(lines, "no rotary pair leaves"));
  CHECK(says(lines, "raw keys"));
  CHECK(says(lines, "rotated already: B (`B{factor=4}`)"));
}

TEST_CASE("What the makers of a model say comes before geometry, up to what they promise") {
  const std::vector<Choice> ordered{{"A", "A{window=8}", within},
                                    {"as configured", "Y{factor=4}", leaves, false, false, true},
                                    {"RoPE", "", leaves_far, false, true}};
  const Question promised{.trained = 4096, .target = 16384, .promised = 16384};
  CHECK(says(advice(promised, ordered), "Keep what the file says, `Y{factor=4}`"));
  CHECK(says(advice(promised, ordered), "number 2 of 3, and A (`A{window=8}`) the first"));
  const Question beyond{.trained = 4096, .target = 32768, .promised = 16384};
  CHECK(advice(beyond, ordered).front() == "Begin with A (`A{window=8}`).");
}

TEST_CASE("A measured loss decides, also against the makers") {
  Evidence measured = leaves_far;
  measured.nats = 2.5;
  const std::vector<Choice> ordered{{"N", "N{alpha=4}", measured},
                                    {"as configured", "Y{factor=4}", within, false, false, true}};
  const auto lines = advice({.trained = 4096, .target = 16384, .promised = 16384}, ordered);
  CHECK(lines.front() == "Begin with N (`N{alpha=4}`).");
  CHECK(says(lines, "2.500 nats"));
  CHECK(says(lines, "3 rotary pairs leave the angles of training, by up to 4.00 times"));
}

TEST_CASE("Where time was left for no scheme, geometry advises, and this is said") {
  Evidence unchanged = leaves_far;
  unchanged.given = true, unchanged.nats = 2.5;
  const std::vector<Choice> ordered{{"A", "A{window=8}", within},
                                    {"RoPE", "", unchanged, false, true}};
  const auto lines = advice(question, ordered);
  CHECK(says(lines, "No loss of a scheme was measured"));
  CHECK(says(lines, "Begin with A (`A{window=8}`)."));
  CHECK_FALSE(says(lines, "least measured loss"));
}

TEST_CASE("Where nothing has to be done, or nothing can, the advice says so") {
  const std::vector<Choice> unchanged{{"RoPE", "", within, false, true}};
  CHECK(says(advice({.trained = 4096, .target = 4096}, unchanged), "Nothing has to be extended"));
  CHECK(says(advice(question, unchanged), "Change nothing"));
  CHECK(says(advice(question, {{"RoPE", "", leaves_far, false, true}}),
             "No scheme here keeps the model within"));
  CHECK(says(advice({.trained = 64, .target = 128, .rotates = false, .alibi = true}, unchanged),
             "ALiBi reads on by itself"));
  CHECK(says(advice({.trained = 64, .target = 128, .rotates = false}, unchanged),
             "no positions in attention"));
  CHECK(says(advice(question, {}), "No scheme fits"));
}

TEST_CASE("What was not measured is said, with the command that measures it") {
  CHECK(says(not_measured(question, "RoPE|A{window=8}", false), "Not measured: the loss"));
  CHECK(says(not_measured(question, "RoPE|A{window=8}", false),
             "--lengths 4096,16384 --schemes \"RoPE|A{window=8}\""));
  CHECK_FALSE(says(not_measured(question, "", false), "evaluate --model"));
  CHECK(says(not_measured(question, "", false), "give this program the GGUF file"));
  CHECK(says(not_measured(question, "RoPE", true), "Measured: the loss of one model on one text"));
}

}  // namespace ranking_cases
