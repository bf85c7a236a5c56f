// SPDX-License-Identifier: MIT
//
// The work: what results do not have yet is trained, tested and added to them.
#pragma once

#include "../support/progress.hpp"
#include "../support/text.hpp"
#include "../support/threads.hpp"
#include "results.hpp"

#include <chrono>

namespace lab_example {

class Runs {
 public:
  Runs(const Setting& setting, const lab::Text& text, Results& results)
      : setting_(setting), results_(results), text_(text),
        executor_(example::threads_of("lab", setting.threads)) {}

  void all() {
    for (const std::uint64_t seed : setting_.seeds)
      for (const std::string& name : setting_.schemes) {
        const lab::Training training = trained(name, seed);
        if (name == "RoPE") extend(training, seed);
      }
    progress_.clear();
  }

 private:
  [[nodiscard]] Scheme scheme(const std::string& name) const {
    for (const NamedScheme& known : named_schemes())
      if (name == known.name) return known.make(setting_.shape, setting_.training.length);
    throw posenc::Error("lab", {"there is no scheme '" + name + "'."});
  }
  [[nodiscard]] lab::Curves tested(const lab::Weights& weights,
                                   const lab::BoundScheme& bound) const {
    return lab::test(weights, bound, text_.held_out, setting_.lengths, setting_.evaluation,
                     executor_);
  }

  /// Trains until the end, from where the folder has it, and keeps it there now and then.
  void train(lab::Training& training, const std::string& what) {
    const std::filesystem::path kept =
        std::filesystem::path(setting_.out) / (example::file_name(what) + ".state");
    if (std::ifstream file(kept, std::ios::binary); file) {
      training.load(file);
      if (training.done()) return;
    }
    using Clock = std::chrono::steady_clock;
    auto said = Clock::now(), saved = said;
    double seconds = 0, bits = 0;
    const Index before = training.steps_done();
    const lab::Source source = lab::text_rows(text_.train);
    while (!training.done()) {
      const auto start = Clock::now();
      bits = training.step(source, executor_);
      const auto now = Clock::now();
      seconds += std::chrono::duration<double>(now - start).count();
      if (now - said > std::chrono::seconds(2) || training.done()) {
        said = now;
        const double per_step = seconds / static_cast<double>(training.steps_done() - before);
        progress_.say(what + ": step " + std::to_string(training.steps_done()) + " of " +
                      std::to_string(training.options().steps) + ", " + example::fixed(bits, 3) +
                      " bits, " + example::fixed(1000 * per_step, 0) + " ms a step");
      }
      if (now - saved > std::chrono::seconds(30) || training.done()) {
        saved = now;
        save(training, kept);
      }
    }
    results_.seconds_per_step[what] = seconds / static_cast<double>(training.steps_done() - before);
  }
  static void save(const lab::Training& training, const std::filesystem::path& to) {
    const std::filesystem::path next = to.string() + ".new";
    std::ofstream file(next, std::ios::binary);
    training.save(file);
    file.close();
    std::filesystem::rename(next, to);
  }

  [[nodiscard]] lab::Training trained(const std::string& name, std::uint64_t seed) {
    lab::TrainingOptions options = setting_.training;
    options.seed = seed;
    lab::Training training(setting_.shape, scheme(name), options);
    train(training, name + " " + std::to_string(seed));
    if (!Results::find(results_.runs, name, seed)) {
      progress_.say(name + " " + std::to_string(seed) + ": testing");
      results_.runs.push_back({name, seed, 0, tested(training.weights(), training.bound())});
      results_.save();
    }
    return training;
  }

  void extend(const lab::Training& trained_short, std::uint64_t seed) {
    const Index trained = setting_.training.length;
    for (const Reading& reading : readings(setting_.shape, trained)) {
      if (Results::find(results_.readings, reading.name, seed)) continue;
      progress_.say("RoPE " + std::to_string(seed) + " read with " + reading.name);
      results_.readings.push_back(
          {reading.name, seed, 0,
           lab::read_with(trained_short.weights(), reading, text_.held_out, setting_.lengths,
                          setting_.evaluation, executor_)});
      results_.save();
    }
    if (setting_.extension_steps.empty()) return;
    const Index length = setting_.extended_length();
    for (const Reading& reading : extensions(setting_.shape, trained))
      go_on(trained_short, reading, length, seed);

    // What the same number of tokens gives when all of them are of the longer length.
    const std::string throughout = "trained at " + std::to_string(length);
    if (Results::find(results_.steps, throughout, seed)) return;
    lab::TrainingOptions options = at_length(length);
    options.steps = setting_.training.steps;
    options.optimizer = setting_.training.optimizer;
    options.seed = seed;
    lab::Training training(setting_.shape, scheme("RoPE"), options);
    train(training, throughout + " " + std::to_string(seed));
    results_.steps.push_back(
        {throughout, seed, 0, at_one_length(training.weights(), scheme("RoPE"), length)});
    results_.save();
  }

  /// So many tokens a step as before, in longer rows.
  [[nodiscard]] lab::TrainingOptions at_length(Index length) const {
    lab::TrainingOptions options = setting_.training;
    options.sequences = std::max<Index>(1, options.sequences * options.length / length);
    options.length = length;
    return options;
  }
  [[nodiscard]] lab::Curves at_one_length(const lab::Weights& weights, const Scheme& with,
                                          Index length) const {
    return lab::test(weights, {with, {}, setting_.shape.layers, setting_.shape.heads},
                     text_.held_out, {length}, setting_.evaluation, executor_);
  }

  /// Trains on with a reading, and tests after each of the numbers of steps. Each number is a training of its
  /// own, so that the rate falls to its end in all.
  void go_on(const lab::Training& trained_short, const Reading& reading, Index length,
             std::uint64_t seed) {
    const Scheme with(reading.name, reading.at(length));
    for (const Index steps : setting_.extension_steps) {
      if (Results::find(results_.steps, reading.name, seed, steps)) continue;
      lab::TrainingOptions options = at_length(length);
      options.steps = steps;
      options.seed = seed + 1000;  // other rows than before
      options.optimizer.rate /= 4;
      options.optimizer.warm_up = std::min<Index>(options.optimizer.warm_up, steps / 5);
      lab::Training training(trained_short.weights(), {}, with, options);
      train(training,
            reading.name + " " + std::to_string(seed) + ", " + std::to_string(steps) + " steps");
      results_.steps.push_back(
          {reading.name, seed, steps, at_one_length(training.weights(), with, length)});
      results_.save();
    }
  }

  const Setting& setting_;
  Results& results_;
  const lab::Text& text_;
  AnyExecutor executor_;
  example::Progress progress_{"lab"};
};

}  // namespace lab_example
