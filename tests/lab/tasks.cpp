// SPDX-License-Identifier: MIT
//
// Texts and tasks: rows are what they say, the same on every machine.
#include "schemes.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace tasks_cases {

using namespace lab_test;
using lab::tasks::ask, lab::tasks::blank;

TEST_CASE("text_rows: windows of the text, each byte the target of the one before") {
  std::vector<std::uint8_t> text(200);
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::uint8_t>(i);
  SeededRandom random(1);
  const lab::Batch batch = lab::text_rows(text)(random, 50, 7);
  std::set<int> firsts;
  for (std::size_t i = 0; i < 350; ++i) {
    CHECK(batch.targets[i] == batch.inputs[i] + 1);
    if (i % 7 == 0)
      firsts.insert(batch.inputs[i]);
    else
      CHECK(batch.inputs[i] == batch.targets[i - 1]);
  }
  CHECK(firsts.size() > 30);
  CHECK(lab::text_rows(text)(random, 1, 199).targets.back() == 199);
}

TEST_CASE("generated_text: words of its own, with copies; the same for a seed") {
  const std::vector<std::uint8_t> text = lab::generated_text(20000, 7);
  CHECK(text.size() == 20000);
  CHECK(text == lab::generated_text(20000, 7));
  CHECK(text != lab::generated_text(20000, 8));
  CHECK(lab::generated_text(0, 7).empty());
  CHECK(std::all_of(text.begin(), text.end(),
                    [](int c) { return c == ' ' || (c >= 'a' && c <= 'z'); }));
  Index copied = 0;  // places where 12 bytes stand at most 96 before, too
  for (std::size_t at = 96; at + 12 <= text.size(); ++at)
    for (std::size_t back = 16; back <= 96; ++back)
      if (std::equal(text.begin() + static_cast<std::ptrdiff_t>(at),
                     text.begin() + static_cast<std::ptrdiff_t>(at + 12),
                     text.begin() + static_cast<std::ptrdiff_t>(at - back))) {
        ++copied;
        break;
      }
  CHECK(copied > 2000);
  CHECK(copied < 12000);
}

TEST_CASE("split: the last part is held out") {
  const std::vector<std::uint8_t> text = small_text(101);
  const lab::Text parts = lab::split(text, 0.2);
  CHECK(parts.held_out.size() == 20);
  std::vector<std::uint8_t> joined = parts.train;
  joined.insert(joined.end(), parts.held_out.begin(), parts.held_out.end());
  CHECK(joined == text);
}

TEST_CASE("CopyTask: content, the question, the content again or backwards") {
  for (const bool reversed : {false, true}) {
    SeededRandom random(4);
    const lab::Batch batch =
        lab::CopyTask{.symbols = 5, .reversed = reversed}.rows()(random, 40, 15);
    std::set<Index> counts;
    for (std::size_t row = 0; row < 40 * 15; row += 15) {
      const auto at = [&](const std::vector<std::uint8_t>& list, std::size_t t) {
        return list[row + t];
      };
      std::size_t n = 0;
      while (at(batch.inputs, n) != ask) ++n;
      counts.insert(static_cast<Index>(n));
      REQUIRE((n >= 1 && n <= 7));
      for (std::size_t t = 0; t < 15; ++t) {
        const bool answers = t >= n && t < 2 * n;
        CHECK(batch.loss_weights[row + t] == static_cast<float>(answers));
        CHECK(at(batch.targets, t) ==
              (answers ? at(batch.inputs, reversed ? 2 * n - 1 - t : t - n) : blank));
        if (t > n) CHECK(at(batch.inputs, t) == (t < 2 * n ? at(batch.targets, t - 1) : blank));
        if (t < n) CHECK((at(batch.inputs, t) >= 2 && at(batch.inputs, t) < 7));
      }
    }
    CHECK(counts.size() == 7);
  }
  SeededRandom random(4);
  const lab::Batch batch = lab::CopyTask{.exact = true}.rows()(random, 3, 16);
  for (std::size_t row = 0; row < 48; row += 16) CHECK(batch.inputs[row + 8] == ask);
}

TEST_CASE("RecallTask: every key is asked once, and its answer is the value that came with it") {
  SeededRandom random(6);
  const lab::Batch batch = lab::RecallTask{.keys = 9, .values = 5}.rows()(random, 30, 64);
  for (std::size_t row = 0; row < 30 * 64; row += 64) {
    std::map<int, int> value_of;
    for (std::size_t p = 0; p < 8; ++p) {
      const int key = batch.inputs[row + 2 * p], value = batch.inputs[row + 2 * p + 1];
      CHECK((key >= 2 && key < 11));
      CHECK((value >= 11 && value < 16));
      value_of[key] = value;
    }
    CHECK(value_of.size() == 8);
    for (std::size_t t = 0; t < 64; ++t) {
      const bool asked = t >= 16 && batch.inputs[row + t] != blank;
      CHECK(batch.loss_weights[row + t] == static_cast<float>(asked));
      if (!asked) continue;
      REQUIRE(value_of.count(batch.inputs[row + t]) == 1);
      CHECK(batch.targets[row + t] == value_of[batch.inputs[row + t]]);
      value_of.erase(batch.inputs[row + t]);
    }
    CHECK(value_of.empty());
  }
}

TEST_CASE("evaluate_task: what a model has learned, and what it has not") {
  // Copying one symbol needs no position: the model of a few steps has it, an untrained one has not.
  lab::Training training(tiny, {"rope", rope() | Causal{}},
                         {.steps = 300, .length = 2, .sequences = 32, .optimizer = {.rate = 2e-2}});
  const lab::Source task = lab::CopyTask{.symbols = 10}.rows();
  const lab::TaskResult before =
      lab::evaluate_task(training.weights(), training.bound(), task, 2, {.sequences = 200});
  CHECK(before.accuracy < 0.5);
  CHECK_THAT(before.bits, WithinAbs(4, 0.3));
  while (!training.done()) training.step(task);
  const lab::TaskResult after =
      lab::evaluate_task(training.weights(), training.bound(), task, 2, {.sequences = 200});
  CHECK(after.accuracy > 0.95);
  CHECK(after.bits < 0.5);
  const lab::TaskResult by_threads = lab::evaluate_task(training.weights(), training.bound(), task,
                                                        2, {.sequences = 200}, threads(2));
  CHECK(by_threads.bits == after.bits);
}

TEST_CASE("tasks: what is wrong is said") {
  const auto refuses = [](const auto& f, const std::string& sentence) {
    CHECK_THROWS_WITH(f(), ContainsSubstring(sentence));
  };
  SeededRandom random(1);
  refuses([&] { static_cast<void>(lab::CopyTask{.symbols = 0}.rows()); },
          "symbols must lie within [1, 254], got 0");
  refuses([&] { static_cast<void>(lab::CopyTask{}.rows()(random, 1, 1)); },
          "at least 2 tokens, got 1");
  refuses([&] { static_cast<void>(lab::RecallTask{}.rows()(random, 1, 7)); },
          "at least 8 tokens, got 7");
  refuses([&] { static_cast<void>(lab::RecallTask{.keys = 200, .values = 100}.rows()); },
          "at most 254 together");
  refuses([&] { static_cast<void>(lab::generated_text(-1, 1)); }, "cannot have -1 bytes");
  const lab::Weights weights(tiny);
  const lab::BoundScheme scheme(no_scheme(), {}, tiny.layers, tiny.heads);
  refuses(
      [&] { static_cast<void>(lab::evaluate_task(weights, scheme, lab::CopyTask{}.rows(), 8)); },
      "is not in a vocabulary of 16");
}

}  // namespace tasks_cases
