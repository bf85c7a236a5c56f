// SPDX-License-Identifier: MIT
//
// Experiments: one call trains short and tests long, for every scheme of a list and every seed.
//
//   const std::vector<Scheme> schemes{{"ALiBi", ALiBi{} | Causal{}}, {"RoPE", rope | Causal{}}, mine};
//   for (const SchemeResult& r : train_and_test(schemes, text, options, executor)) ...
//
// and one reads a trained model with other schemes, without training or after some steps:
//
//   read_with(training.weights(), {{"YaRN", [](Index length) { return ...; }}}, text, lengths, ...)
#pragma once

#include <posenc/lab/evaluation.hpp>
#include <posenc/lab/text.hpp>
#include <posenc/lab/training.hpp>

#include <chrono>

POSENC_NAMESPACE_BEGIN

namespace lab {

struct ExperimentOptions {
  ModelShape shape{};
  TrainingOptions training{};  ///< its seed is replaced by those below
  EvaluationOptions evaluation{};
  std::vector<Index> lengths{128, 256, 512, 1024};  ///< tested
  std::vector<std::uint64_t> seeds{1};
};

/// Text at several lengths.
struct Curves {
  std::vector<Curve> text{};
  std::vector<RepeatedCurve> repeated{};
};
/// One scheme, trained with one seed.
struct SchemeResult {
  std::string scheme;
  std::uint64_t seed = 0;
  std::vector<double> training_bits{};  ///< of every step
  double training_seconds = 0;
  Curves curves{};
};

/// Held-out text at each length, and its passages twice. Throws Error.
[[nodiscard]] inline Curves test(const Weights& weights, const BoundScheme& scheme,
                                 std::span<const std::uint8_t> held_out,
                                 const std::vector<Index>& lengths, EvaluationOptions options,
                                 const AnyExecutor& executor = {}) {
  Curves curves;
  for (const Index length : lengths) {
    options.length = length;
    curves.text.push_back(evaluate(weights, scheme, held_out, options, executor));
    if (length % 2 == 0)
      curves.repeated.push_back(evaluate_repeated(weights, scheme, held_out, options, executor));
  }
  return curves;
}

/// Trains until the end, and calls said(training, bits) after each step.
template <class Said>
std::vector<double> train(Training& training, const Source& source, const AnyExecutor& executor,
                          const Said& said) {
  std::vector<double> bits;
  while (!training.done()) {
    bits.push_back(training.step(source, executor));
    said(std::as_const(training), bits.back());
  }
  return bits;
}

/// Trains every scheme with every seed and tests it. said(scheme, training, bits) is called after every step,
/// and ended(training, result) with each model that has been trained. Throws Error, before any long work where
/// a scheme cannot be bound.
template <class Said, class Ended>
std::vector<SchemeResult> train_and_test(const std::vector<Scheme>& schemes, const Text& text,
                                         const ExperimentOptions& options,
                                         const AnyExecutor& executor, const Said& said,
                                         const Ended& ended) {
  Problems problems;
  problems.require(!options.lengths.empty(), "there is no length to test.");
  Index longest = options.training.length;
  for (const Index length : options.lengths) {
    EvaluationOptions evaluation = options.evaluation;
    evaluation.length = length;
    evaluation.check(problems);
    longest = std::max(longest, length);
  }
  options.shape.check(problems);
  options.training.check(problems);
  if (problems.empty())
    detail::check_text(problems, text.held_out, longest + 1, options.shape.vocabulary);
  problems.raise_if_any("posenc::lab::train_and_test");
  for (const Scheme& scheme : schemes) {
    const BoundScheme bound(scheme, scheme.learned, options.shape.layers, options.shape.heads);
    Matrix x = Matrix::Zero(longest, options.shape.width());  // may embeddings be read so far?
    if (bound.added().add)
      bound.added().add(TensorView<float>(x.data(), longest, 1, options.shape.width()), 0);
  }
  std::vector<SchemeResult> results;
  for (const std::uint64_t seed : options.seeds)
    for (const Scheme& scheme : schemes) {
      TrainingOptions with_seed = options.training;
      with_seed.seed = seed;
      Training training(options.shape, scheme, with_seed);
      const auto start = std::chrono::steady_clock::now();
      SchemeResult result{.scheme = scheme.name, .seed = seed};
      result.training_bits =
          train(training, text_rows(text.train), executor,
                [&](const Training& at, double bits) { said(scheme, at, bits); });
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      result.training_seconds = time.count();
      result.curves = test(training.weights(), training.bound(), text.held_out, options.lengths,
                           options.evaluation, executor);
      ended(std::as_const(training), std::as_const(result));
      results.push_back(std::move(result));
    }
  return results;
}
[[nodiscard]] inline std::vector<SchemeResult> train_and_test(const std::vector<Scheme>& schemes,
                                                              const Text& text,
                                                              const ExperimentOptions& options,
                                                              const AnyExecutor& executor = {}) {
  return train_and_test(
      schemes, text, options, executor, [](const Scheme&, const Training&, double) {},
      [](const Training&, const SchemeResult&) {});
}

/// A way to read a model: the encoding for a length, in every layer.
struct Reading {
  std::string name;
  std::function<AnyEncoding(Index length)> at;
};

/// The weights of a model that learned nothing but them, read in some way at each length. Throws Error.
[[nodiscard]] inline Curves read_with(const Weights& weights, const Reading& reading,
                                      std::span<const std::uint8_t> held_out,
                                      const std::vector<Index>& lengths,
                                      const EvaluationOptions& options,
                                      const AnyExecutor& executor = {}) {
  Curves curves;
  for (const Index length : lengths) {
    const BoundScheme scheme(Scheme(reading.name, reading.at(length)), {}, weights.shape().layers,
                             weights.shape().heads);
    Curves one = test(weights, scheme, held_out, {length}, options, executor);
    curves.text.push_back(std::move(one.text.front()));
    curves.repeated.insert(curves.repeated.end(), one.repeated.begin(), one.repeated.end());
  }
  return curves;
}

}  // namespace lab

POSENC_NAMESPACE_END
