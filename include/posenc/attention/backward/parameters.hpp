// SPDX-License-Identifier: MIT
//
// ParameterGradients: the gradients of what the components of an encoding can learn.
//
//   ParameterGradients gradients(bound);
//   attention_backward<float>(forward, d_out, {dq, dk, dv, &gradients}, bound);
//   const std::span<const double> of_table = gradients.of<T5Bias>();   // in the order of its table
//
// Calls add to them: layers that share a component share its gradient. clear() sets them to zero.
//
// Learned frequencies, or what they are made of (a base, factors per pair), are asked for by themselves:
//
//   ParameterGradients gradients(bound, {.frequencies = true});
//   gradients.frequencies();   // d L / d w_i, w = bound.rotary().state.inv_freq, radians per token
#pragma once

#include <posenc/bind/bind.hpp>

POSENC_NAMESPACE_BEGIN

/// What else is learned.
struct ParameterOptions {
  bool frequencies = false;  ///< those of the rotary pairs, as they hold in a call
};

class ParameterGradients {
 public:
  /// Throws Error where frequencies are to be learned and the encoding has none, or where RotateValues and
  /// ShawValues meet, whose sums cannot be told apart.
  template <class E>
  explicit ParameterGradients(const Bound<E>& bound, const ParameterOptions& options = {}) {
    if (options.frequencies) check_frequencies(bound.answers());
    prepare(bound.answers(), options.frequencies ? bound.answers().rotary().pairs() : 0);
  }

  /// Of the nth component of type C, in the order in which it holds them. Throws Error where there is no
  /// such component.
  template <class C>
  [[nodiscard]] std::span<const double> of(std::size_t n = 0) const {
    std::size_t found = 0;
    for (std::size_t i = 0; i < asked_.size(); ++i)
      if (asked_[i] == &detail::questions<prepared_t<C>> && found++ == n)
        return std::span(values_).subspan(first_[i], first_[i + 1] - first_[i]);
    Problems problems;
    problems.add("the encoding has ", found, " components of this type, so there is no number ", n,
                 " (the first is 0).");
    problems.raise_if_any("posenc::ParameterGradients");
    return {};
  }

  /// Of the frequencies, one per rotary pair; empty where they were not asked for.
  [[nodiscard]] std::span<const double> frequencies() const {
    return std::span(values_).subspan(first_.back());
  }

  /// All of them, component by component as written, and then those of frequencies.
  [[nodiscard]] std::span<const double> values() const { return values_; }
  [[nodiscard]] std::span<double> values() { return values_; }

  /// Do the gradients have the components of this encoding, and their sizes?
  [[nodiscard]] bool is_of(const detail::Answers& answers) const {
    const std::span<const detail::Stage> stages = answers.asked();
    bool same = stages.size() == asked_.size();
    for (std::size_t i = 0; same && i < stages.size(); ++i) {
      same = stages[i].ask == asked_[i] &&
             first_[i + 1] - first_[i] == static_cast<std::size_t>(num_parameters(stages[i]));
    }
    return same && (frequencies().empty() || std::ssize(frequencies()) == answers.rotary().pairs());
  }

  void clear() { std::fill(values_.begin(), values_.end(), 0.0); }

 private:
  void prepare(const detail::Answers& answers, Index frequencies) {
    const std::span<const detail::Stage> stages = answers.asked();
    asked_ = std::vector<const detail::Questions*>(stages.size());
    first_ = std::vector<std::size_t>(stages.size() + 1);
    for (std::size_t i = 0; i < stages.size(); ++i) {
      asked_[i] = stages[i].ask;
      first_[i + 1] = first_[i] + static_cast<std::size_t>(num_parameters(stages[i]));
    }
    values_ = std::vector<double>(first_.back() + static_cast<std::size_t>(frequencies));
  }
  static void check_frequencies(const detail::Answers& answers) {
    Problems problems;
    problems.require(answers.rotates(),
                     "this encoding has no rotary base, so it has no frequencies "
                     "to learn: begin it with RoPE<HalfSplit>{...} or the like.");
    problems.require(!answers.facts().rotates_values || answers.relative().values == 0,
                     "frequencies cannot be learned where values both rotate (RotateValues) and "
                     "have vectors by distance (ShawValues).");
    problems.raise_if_any("posenc::ParameterGradients");
  }

  std::vector<const detail::Questions*> asked_;
  std::vector<std::size_t> first_;
  std::vector<double> values_;
};

POSENC_NAMESPACE_END
