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

  /// One kind of question after the other, each for all seeds, so that a run that is interrupted has answers.
  void all() {
    const auto with_rope = [&](const auto& f) {
      const auto& names = setting_.schemes;
      if (std::find(names.begin(), names.end(), "RoPE") == names.end()) return;
      for (const std::uint64_t seed : setting_.seeds) f(trained("RoPE", seed), seed);
    };
    for (const std::uint64_t seed : setting_.seeds)
      for (const std::string& name : setting_.schemes) static_cast<void>(trained(name, seed));
    if (!setting_.selects.empty())
      for (const std::uint64_t seed : setting_.seeds)
        for (const std::string& name : setting_.schemes) select(name, seed);
    with_rope([&](const lab::Training& rope, std::uint64_t seed) { read(rope, seed); });
    if (!setting_.extension_steps.empty()) {
      with_rope([&](const lab::Training& rope, std::uint64_t seed) {
        for (const Reading& way : extensions(setting_.shape, setting_.training.length))
          go_on(rope, way, setting_.extended_length(), seed);
      });
      if (setting_.schedules_too)
        with_rope([&](const lab::Training& rope, std::uint64_t seed) {
          for (const NamedSchedule& schedule : setting_.schedules())
            by_schedule(rope, schedule, seed);
        });
    }
    progress_.clear();
  }

 private:
  [[nodiscard]] Scheme scheme(const std::string& name) const {
    return named_scheme(name).make(setting_.shape, setting_.training.length);
  }
  /// Empty where all steps have the scheme itself.
  [[nodiscard]] lab::Course course_of_scheme(const std::string& name) const {
    const double with_rope = named_scheme(name).with_rope;
    if (with_rope == 0) return {};
    return [&options = setting_.training, rope = scheme("RoPE"), own = scheme(name),
            with_rope](Index step) {
      const bool first = static_cast<double>(step) < with_rope * static_cast<double>(options.steps);
      return lab::Lesson{options.length, options.sequences, first ? rope : own};
    };
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
    lab::Training training(setting_.shape, scheme(name), options, course_of_scheme(name));
    train(training, name + " " + std::to_string(seed));
    if (!Results::find(results_.runs, name, seed)) {
      progress_.say(name + " " + std::to_string(seed) + ": testing");
      results_.runs.push_back({name, seed, 0, tested(training.weights(), training.bound())});
      results_.save();
    }
    return training;
  }

  /// Reads a trained model with the keys that each method chooses.
  void select(const std::string& name, std::uint64_t seed) {
    const lab::Training model = trained(name, seed);
    for (const ReadSelector& method : setting_.selects) {
      const std::string way = selection_name(name, method);
      if (Results::find(results_.selections, way, seed) ||
          !why_not(model.scheme(), setting_.shape, method).empty())
        continue;
      progress_.say(name + " " + std::to_string(seed) + " read with " + method.text);
      const Scheme chosen = with_chosen_keys(model.scheme(), method);
      results_.selections.push_back(
          {way, seed, 0,
           tested(model.weights(),
                  {chosen, model.learned(), setting_.shape.layers, setting_.shape.heads})});
      results_.save();
    }
  }

  void read(const lab::Training& trained_short, std::uint64_t seed) {
    for (const Reading& reading : readings(setting_.shape, setting_.training.length)) {
      if (Results::find(results_.readings, reading.name, seed)) continue;
      progress_.say("RoPE " + std::to_string(seed) + " read with " + reading.name);
      results_.readings.push_back(
          {reading.name, seed, 0,
           lab::read_with(trained_short.weights(), reading, text_.held_out, setting_.lengths,
                          setting_.evaluation, executor_)});
      results_.save();
    }
  }

  /// So many tokens a step as before, in longer rows.
  [[nodiscard]] lab::TrainingOptions at_length(Index length) const {
    lab::TrainingOptions options = setting_.training;
    options.sequences = std::max<Index>(1, options.sequences * options.length / length);
    options.length = length;
    return options;
  }
  [[nodiscard]] lab::Curves read_by(const lab::Weights& weights, const Scheme& with,
                                    const std::vector<Index>& lengths) const {
    return lab::test(weights, {with, {}, setting_.shape.layers, setting_.shape.heads},
                     text_.held_out, lengths, setting_.evaluation, executor_);
  }
  /// Training that goes on from a model has a fresh optimiser, other rows, and a rate that rises to a quarter of what
  /// it was and falls again.
  [[nodiscard]] static lab::TrainingOptions going_on(lab::TrainingOptions options, Index steps,
                                                     std::uint64_t seed) {
    options.steps = steps;
    options.seed = seed + 1000;
    options.optimizer.rate /= 4;
    options.optimizer.warm_up = std::min<Index>(options.optimizer.warm_up, steps / 5);
    return options;
  }

  /// Trains through the stages, from the trained model or from random weights, and tests what came out as the last
  /// stage reads.
  void by_schedule(const lab::Training& trained_short, const NamedSchedule& named,
                   std::uint64_t seed) {
    const Index in_all = named.steps + (named.from_trained ? setting_.training.steps : 0);
    if (Results::find(results_.stages, named.name, seed, in_all)) return;
    const AnyEncoding model = RoPE<HalfSplit>{.head_dim = setting_.shape.head_dim} | Causal{};
    lab::TrainingOptions options = setting_.training;
    const lab::Course course =
        lab::course_of(named.schedule, model, options.sequences * options.length);
    const Scheme last(named.name, ContextSchedule::of_stage(model, named.schedule.stages.back()));
    options.steps = named.steps;
    options.seed = seed;
    lab::Training training = named.from_trained
                                 ? lab::Training(trained_short.weights(), {}, last,
                                                 going_on(options, named.steps, seed), course)
                                 : lab::Training(setting_.shape, last, options, course);
    train(training, schedule_run(named.name, seed, in_all));
    results_.stages.push_back({named.name, seed, in_all,
                               read_by(training.weights(), last, setting_.lengths_of_schedules())});
    results_.save();
  }

  /// Trains on with a reading, and tests after each of the numbers of steps. Each number is a training of its
  /// own, so that the rate falls to its end in all.
  void go_on(const lab::Training& trained_short, const Reading& reading, Index length,
             std::uint64_t seed) {
    const Scheme with(reading.name, reading.at(length));
    for (const Index steps : setting_.extension_steps) {
      if (Results::find(results_.steps, reading.name, seed, steps)) continue;
      lab::Training training(trained_short.weights(), {}, with,
                             going_on(at_length(length), steps, seed));
      train(training,
            reading.name + " " + std::to_string(seed) + ", " + std::to_string(steps) + " steps");
      results_.steps.push_back(
          {reading.name, seed, steps, read_by(training.weights(), with, {length})});
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
