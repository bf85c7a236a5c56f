// SPDX-License-Identifier: MIT
//
// Training: a model, its scheme and its optimiser, step by step.
//
//   Training training(shape, scheme, {.steps = 400, .length = 128, .sequences = 16, .seed = 1});
//   while (!training.done()) training.step(text_rows(text), executor);
//
// Where steps differ in length or in scheme, a Course (lab/course.hpp) says how.
//
// Sequences are dealt out in a fixed number of shards, whose gradients are summed in order: results are the
// same bits for any number of threads. A state that was saved and loaded goes on as if nothing had
// happened, to the last bit.
#pragma once

#include <posenc/executor/chunks.hpp>
#include <posenc/lab/course.hpp>
#include <posenc/lab/optimizer.hpp>
#include <posenc/lab/run_tasks.hpp>
#include <posenc/lab/state.hpp>
#include <posenc/lab/transformer.hpp>

#include <functional>
#include <istream>
#include <ostream>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// Sequences to train on, with the weight of each token's loss (empty: all alike).
struct Batch {
  std::vector<std::uint8_t> inputs{}, targets{};
  std::vector<float> loss_weights{};
};
/// Draws so many sequences of a length.
using Source = std::function<Batch(SeededRandom& random, Index sequences, Index length)>;

/// Reports what is not a batch of so many tokens.
inline void check_batch(Problems& problems, const Batch& batch, Index tokens, Index vocabulary) {
  problems.require(std::ssize(batch.inputs) == tokens && std::ssize(batch.targets) == tokens,
                   "a batch has ", tokens, " tokens and as many targets, but the source gave ",
                   batch.inputs.size(), " and ", batch.targets.size(), ".");
  problems.require(batch.loss_weights.empty() || std::ssize(batch.loss_weights) == tokens,
                   "there are ", tokens, " losses, but the source gave ", batch.loss_weights.size(),
                   " weights of losses.");
  for (const auto* list : {&batch.inputs, &batch.targets})
    for (const std::uint8_t token : *list)
      if (token >= vocabulary)
        return problems.add("token ", static_cast<int>(token), " is not in a vocabulary of ",
                            vocabulary, ".");
}

struct TrainingOptions {
  Index steps = 400;
  Index length = 128;
  Index sequences = 16;  ///< of a step
  std::uint64_t seed = 1;
  /// Whatever else a saved state has to share with the training that loads it, such as a hash of the text or of a
  /// course.
  std::uint64_t tag = 0;
  OptimizerOptions optimizer{};

  void check(Problems& problems) const {
    problems.require(steps >= 0, "steps must not be negative, got ", steps, ".");
    check_rows(problems, length, sequences);
    optimizer.check(problems);
  }
  static void check_rows(Problems& problems, Index length, Index sequences) {
    problems.require(length >= 1 && length <= Index{1} << 24,
                     "length must lie within [1, 2^24], got ", length, ".");
    problems.require(sequences >= 1 && sequences <= Index{1} << 16,
                     "sequences must lie within [1, 2^16], got ", sequences, ".");
  }
};

class Training {
 public:
  /// From random weights. With a course, its lessons stand for the options' length and sequences; `scheme` is what
  /// bound() gives, and schemes of lessons learn the same numbers. Throws Error.
  Training(const ModelShape& shape, const Scheme& scheme, const TrainingOptions& options,
           Course course = {})
      : Training(Weights(shape), scheme.learned, scheme, options, std::move(course)) {
    weights_ = Weights::random(shape, random_);
  }
  /// From those of another model, with a fresh optimiser. Throws Error.
  Training(Weights weights, std::vector<double> learned, Scheme scheme,
           const TrainingOptions& options, Course course = {})
      : options_(options), scheme_(std::move(scheme)), course_(std::move(course)),
        weights_(std::move(weights)), learned_(std::move(learned)), random_(options.seed),
        moments_(weights_.values().size()), learned_moments_(learned_.size()) {
    Problems problems;
    options.check(problems);
    problems.raise_if_any("posenc::lab::Training");
    static_cast<void>(bound());  // says what is wrong with the scheme
  }

  [[nodiscard]] Index steps_done() const { return step_; }
  [[nodiscard]] bool done() const { return step_ >= options_.steps; }
  [[nodiscard]] const TrainingOptions& options() const { return options_; }
  [[nodiscard]] const Scheme& scheme() const { return scheme_; }
  [[nodiscard]] const Weights& weights() const { return weights_; }
  [[nodiscard]] const std::vector<double>& learned() const { return learned_; }
  /// The scheme with what it has learned.
  [[nodiscard]] BoundScheme bound() const { return bound(scheme_); }

  /// One step; returns the mean loss before it, in bits per token. Throws Error where the source gives other
  /// sizes than it was asked for, and where all steps are done.
  double step(const Source& source, const AnyExecutor& executor = {}) {
    Problems problems;
    problems.require(!done(), "all ", options_.steps, " steps are done.");
    problems.raise_if_any("posenc::lab::Training::step");
    const Lesson lesson =
        course_ ? course_(step_) : Lesson{options_.length, options_.sequences, scheme_};
    TrainingOptions::check_rows(problems, lesson.length, lesson.sequences);
    problems.raise_if_any("posenc::lab::Course");
    const Batch batch = source(random_, lesson.sequences, lesson.length);
    const TokenRows rows{lesson.sequences, lesson.length, batch.inputs, batch.targets};
    const std::vector<float> loss_weights = checked(batch, rows.tokens());
    const BoundScheme scheme = bound(lesson.scheme);
    const Index shards = std::min(most_shards, lesson.sequences);
    while (std::ssize(shards_) < shards) shards_.emplace_back(*this);
    while (std::ssize(passes_) < workers_of(executor, shards)) passes_.emplace_back(true);
    run_tasks(executor, shards, [&](Index i, Index worker) {
      const Index first = i * rows.sequences / shards, last = (i + 1) * rows.sequences / shards;
      shards_[static_cast<std::size_t>(i)].differentiate(
          passes_[static_cast<std::size_t>(worker)], weights_, scheme,
          rows.slice(first, last - first),
          std::span(loss_weights)
              .subspan(static_cast<std::size_t>(first * rows.length),
                       static_cast<std::size_t>((last - first) * rows.length)));
    });
    double loss = 0;
    const std::span<Shard> used(shards_.data(), static_cast<std::size_t>(shards));
    for (const Shard& shard : used) loss += shard.loss;
    descend(used, executor);
    ++step_;
    return loss / std::numbers::ln2;
  }

  /// Everything that the next step depends on. Throws Error where it cannot be written.
  void save(std::ostream& to) const {
    StateWriter state(to);
    for_each_fact([&](const char*, auto value) { state.number(value); });
    state.number(step_);
    state.number(random_.state());
    for_each_array(*this, [&](const auto& values) { state.array(std::span(values)); });
    state.end();
  }
  /// Throws Error where it is not a state of such a model with such options, and leaves this one as it was.
  void load(std::istream& from) {
    StateReader state(from);
    for_each_fact([&](const char* what, auto value) { state.expect(what, value); });
    Training read = *this;
    read.step_ = state.number<Index>();
    read.random_ = SeededRandom(state.number<std::uint64_t>());
    for_each_array(read, [&](auto& values) { state.array(std::span(values)); });
    state.end();
    *this = std::move(read);
  }

 private:
  static constexpr Index most_shards = 8;

  struct Shard {
    Weights gradient;
    std::vector<double> learned;
    std::vector<float> losses;
    double loss = 0;

    explicit Shard(const Training& training)
        : gradient(training.weights_.shape()), learned(training.learned_.size()) {}

    void differentiate(Pass& pass, const Weights& weights, const BoundScheme& scheme,
                       const TokenRows& rows, std::span<const float> loss_weights) {
      losses.resize(loss_weights.size());
      pass.forward(weights, scheme, rows, losses);
      pass.backward(weights, scheme, rows, loss_weights, gradient, learned);
      loss = 0;
      for (std::size_t i = 0; i < losses.size(); ++i)
        loss += static_cast<double>(loss_weights[i]) * static_cast<double>(losses[i]);
    }
  };

  [[nodiscard]] BoundScheme bound(const Scheme& scheme) const {
    BoundScheme bound(scheme, learned_, weights_.shape().layers, weights_.shape().heads);
    bound.check_differentiable();
    return bound;
  }

  /// The weights of the losses, which sum to 1.
  [[nodiscard]] std::vector<float> checked(const Batch& batch, Index tokens) const {
    Problems problems;
    check_batch(problems, batch, tokens, weights_.shape().vocabulary);
    double sum = batch.loss_weights.empty() ? static_cast<double>(tokens) : 0;
    for (const float weight : batch.loss_weights) sum += static_cast<double>(weight);
    problems.require(std::isfinite(sum) && sum > 0,
                     "the weights of the losses must have a positive sum, got ", sum, ".");
    problems.raise_if_any("posenc::lab::Training::step");
    std::vector<float> normalised = batch.loss_weights;
    normalised.resize(static_cast<std::size_t>(tokens), 1);  // none: all alike
    for (float& weight : normalised) weight = static_cast<float>(static_cast<double>(weight) / sum);
    return normalised;
  }

  /// Sums the gradients of the shards into the first, and moves the weights; threads share blocks of numbers.
  void descend(std::span<Shard> shards, const AnyExecutor& executor) {
    const auto size = static_cast<Index>(weights_.values().size());
    constexpr Index block = Index{1}
                            << 14;  // sums of squares are of whole blocks, whoever has them
    const Index blocks = (size + block - 1) / block;
    std::vector<double> squares(static_cast<std::size_t>(blocks));
    for_chunks(executor, blocks, 16, [&](Index first, Index last) {
      for (Index b = first; b < last; ++b) {
        const Index from = b * block, count = std::min(block, size - from);
        using Array = Eigen::Map<Eigen::ArrayXf>;
        Array sum(shards.front().gradient.values().data() + from, count);
        for (std::size_t i = 1; i < shards.size(); ++i)
          sum += Array(shards[i].gradient.values().data() + from, count);
        squares[static_cast<std::size_t>(b)] = sum.template cast<double>().square().sum();
      }
    });
    std::vector<double>& of_learned = shards.front().learned;
    double square = 0;
    for (const double part : squares) square += part;
    for (std::size_t j = 0; j < of_learned.size(); ++j) {
      for (std::size_t i = 1; i < shards.size(); ++i) of_learned[j] += shards[i].learned[j];
      square += of_learned[j] * of_learned[j];
    }
    const OptimizerOptions& o = options_.optimizer;
    const double norm = std::sqrt(square), shrink = norm > o.clip ? o.clip / norm : 1;
    const double rate = o.rate_at(step_, options_.steps);
    const Weights& gradient = shards.front().gradient;
    struct Part {
      Index first, count;
      bool is_norm;
    };
    std::vector<Part> parts;
    weights_.view().for_each([&](Index first, Index count, bool is_norm) {
      for (Index from = 0; from < count; from += block)
        parts.push_back({first + from, std::min(block, count - from), is_norm});
    });
    for_chunks(executor, std::ssize(parts), 16, [&](Index first, Index last) {
      for (Index i = first; i < last; ++i) {
        const Part& part = parts[static_cast<std::size_t>(i)];
        moments_.step(weights_.values(), gradient.values(), static_cast<std::size_t>(part.first),
                      static_cast<std::size_t>(part.count), step_ + 1, rate,
                      part.is_norm ? 0 : o.decay, shrink, o);
      }
    });
    learned_moments_.step(learned_, of_learned, 0, learned_.size(), step_ + 1,
                          rate * o.learned_rate, 0, shrink, o);
  }

  /// Calls f(name, value) with what a state has to share with the training that reads it.
  template <class F>
  void for_each_fact(const F& f) const {
    const ModelShape& shape = weights_.shape();
    const OptimizerOptions& o = options_.optimizer;
    f("layers", shape.layers), f("heads", shape.heads), f("head_dim", shape.head_dim);
    f("mlp_ratio", shape.mlp_ratio), f("vocabulary", shape.vocabulary);
    f("learned numbers", std::ssize(learned_)), f("steps", options_.steps);
    f("length", options_.length), f("sequences", options_.sequences), f("seed", options_.seed);
    f("tag", options_.tag), f("scheme", std::hash<std::string>()(scheme_.name));
    f("rate", o.rate), f("learned_rate", o.learned_rate), f("beta1", o.beta1), f("beta2", o.beta2);
    f("decay", o.decay), f("clip", o.clip), f("warm_up", o.warm_up), f("at_end", o.at_end);
  }
  template <class T, class F>
  static void for_each_array(T& training, const F& f) {
    auto weights = training.weights_.values();
    f(weights), f(training.learned_);
    f(training.moments_.first), f(training.moments_.second);
    f(training.learned_moments_.first), f(training.learned_moments_.second);
  }

  TrainingOptions options_;
  Scheme scheme_;
  Course course_;
  Weights weights_;
  std::vector<double> learned_;
  SeededRandom random_;
  Moments<float> moments_;
  Moments<double> learned_moments_;
  Index step_ = 0;
  std::vector<Shard> shards_;
  std::vector<Pass> passes_;  ///< one for each thread
};

}  // namespace lab

POSENC_NAMESPACE_END
