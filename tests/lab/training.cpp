// SPDX-License-Identifier: MIT
//
// Training: gradients are those of the loss, threads and interruptions change no bit, what is wrong is said.
#include "gradient.hpp"

#include <sstream>

namespace training_cases {

using namespace lab_test;

TEST_CASE("Training: the gradient is that of the loss, along random directions") {
  SeededRandom random(3);
  std::vector<double> table(16);
  for (double& x : table) x = random.real(-1, 1);
  const lab::Scheme by_layers("by layers", [](Index layers) {
    return LayerSchedule::every(layers, 2, rope() | Causal{}, encoding(ALiBi{} | Causal{}));
  });
  for (const lab::Scheme& scheme : {no_scheme(), t5_scheme(table, 2), by_layers,
                                    learned_scheme(std::vector<double>(9 * 8, 0.3), 8)})
    check_gradient(scheme);
}

TEST_CASE("Training: the same bits for any number of threads, and a loss that falls") {
  const lab::Scheme scheme = t5_scheme(std::vector<double>(64), 2);
  const std::string alone = trained(scheme, 24, Serial{});
  CHECK(alone == trained(scheme, 24, threads(2)));
  CHECK(alone == trained(scheme, 24, threads(3)));
}

TEST_CASE("Training: saved and loaded, it goes on as if nothing had happened") {
  const std::vector<std::uint8_t> text = small_text(3000);
  const lab::TrainingOptions options{.steps = 9, .length = 12, .sequences = 3};
  const lab::Scheme scheme = t5_scheme(std::vector<double>(64), 2);
  lab::Training whole(tiny, scheme, options), first(tiny, scheme, options);
  const lab::Source source = lab::text_rows(text);
  while (!whole.done()) whole.step(source);
  for (int i = 0; i < 4; ++i) first.step(source);
  std::stringstream kept;
  first.save(kept);
  lab::TrainingOptions same = options;
  lab::Training second(tiny, scheme, same);
  second.load(kept);
  CHECK(second.steps_done() == 4);
  while (!second.done()) second.step(source);
  std::ostringstream a, b;
  whole.save(a), second.save(b);
  CHECK(a.str() == b.str());

  const std::string state = a.str();
  const auto loaded = [&](const std::string& bytes, const lab::TrainingOptions& other) {
    lab::Training training(tiny, scheme, other);
    std::istringstream from(bytes);
    try {
      training.load(from);
    } catch (const Error& error) {
      CHECK(training.steps_done() == 0);
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(loaded(state, options).empty());
  CHECK_THAT(loaded(state.substr(0, state.size() - 1), options), ContainsSubstring("ends early"));
  CHECK_THAT(loaded(state + "x", options), ContainsSubstring("goes on where it should end"));
  CHECK_THAT(loaded("something else, longer than a header", options),
             ContainsSubstring("not a state of the lab's training"));
  CHECK_THAT(loaded("", options), ContainsSubstring("ends early"));
  same.steps = 10;
  CHECK_THAT(loaded(state, same), ContainsSubstring("the state has steps 9, this training 10"));
}

TEST_CASE("Training: the weights of losses choose what is learned") {
  // Alike where all weigh the same, whatever that is.
  const std::vector<std::uint8_t> text = small_text(500);
  const auto after_one = [&](std::vector<float> loss_weights) {
    lab::Training training(tiny, no_scheme(), {.steps = 2, .length = 10, .sequences = 2});
    const lab::Source plain = lab::text_rows(text);
    const double bits = training.step([&](SeededRandom& random, Index sequences, Index length) {
      lab::Batch batch = plain(random, sequences, length);
      batch.loss_weights = loss_weights;
      return batch;
    });
    return std::pair(bits, training.weights().values()[7]);
  };
  const auto even = after_one({}), fours = after_one(std::vector<float>(20, 4));
  CHECK_THAT(fours.first, WithinRel(even.first, 1e-6));
  CHECK_THAT(fours.second, WithinAbs(even.second, 1e-6));
  std::vector<float> one(20);
  one[3] = 2;
  CHECK(after_one(one).first != even.first);
}

TEST_CASE("Training: what is wrong is said") {
  const auto refuses = [](const auto& f, const std::string& sentence) {
    CHECK_THROWS_WITH(f(), ContainsSubstring(sentence));
  };
  refuses([] { lab::Weights(lab::ModelShape{.layers = 0}); },
          "layers must lie within [1, 1024], got 0");
  refuses([] { lab::Weights(lab::ModelShape{.vocabulary = 300}); },
          "vocabulary must lie within [1, 256]");
  refuses([] { lab::Training(tiny, no_scheme(), {.length = 0}); },
          "length must lie within [1, 2^24], got 0");
  refuses([] { lab::Training(tiny, no_scheme(), {.optimizer = {.rate = -1}}); },
          "rate must be positive, got -1");
  refuses([] { lab::Training(tiny, t5_scheme(std::vector<double>(5), 2), {}); }, "T5Bias");
  refuses(
      [] {
        lab::Training(tiny, {"rope", rope(6) | Causal{}}, {.length = 4})
            .step(lab::text_rows(small_text(20)));
      },
      "heads of 6 channels");
  refuses(
      [] {
        lab::Training(tiny, learned_scheme(std::vector<double>(3 * 8), 8), {.length = 4})
            .step(lab::text_rows(small_text(20)), threads(2));
      },
      "whole positions 0 to 2, got position 3");
  refuses(
      [] {
        lab::Scheme more = no_scheme();
        more.learned = {1, 2};
        lab::Training(tiny, more, {});
      },
      "learn 0 numbers, but it begins with 2");
  refuses(
      [] {
        lab::Training(
            tiny, {"short", [](Index) { return LayerSchedule::uniform(1, encoding(Causal{})); }},
            {});
      },
      "the schedule has 1 layers and the model 2");
  lab::Training training(tiny, no_scheme(), {.length = 4, .sequences = 2});
  refuses([&] { training.step(lab::text_rows({})); }, "need 5 bytes of text, got 0");
  refuses([&] { training.step([](auto&&...) { return lab::Batch{}; }); },
          "8 tokens and as many targets");
  refuses(
      [&] {
        training.step([](auto&&...) {
          return lab::Batch{std::vector<std::uint8_t>(8, 16), std::vector<std::uint8_t>(8), {}};
        });
      },
      "token 16 is not in a vocabulary of 16");
  refuses(
      [&] {
        training.step([](auto&&...) {
          return lab::Batch{std::vector<std::uint8_t>(8), std::vector<std::uint8_t>(8),
                            std::vector<float>(8)};
        });
      },
      "must have a positive sum, got 0");
}

TEST_CASE("OptimizerOptions: the rate rises, and falls by a cosine to its end") {
  const lab::OptimizerOptions options{.rate = 1, .warm_up = 4, .at_end = 0.1};
  CHECK(options.rate_at(0, 12) == 0.25);
  CHECK(options.rate_at(3, 12) == 1);
  CHECK_THAT(options.rate_at(7, 12), WithinAbs(0.55, 1e-12));
  CHECK_THAT(options.rate_at(11, 12), WithinAbs(0.1, 1e-12));
}

}  // namespace training_cases
