// SPDX-License-Identifier: MIT
//
// ParameterGradients: the gradients of what the components of an encoding can learn.
//
//   ParameterGradients gradients(bound);
//   attention_backward<float>(forward, d_out, {dq, dk, dv, &gradients}, bound);
//   const std::span<const double> of_table = gradients.of<T5Bias>();   // in the order of its table
//
// Calls add to them: layers that share a component share its gradient. clear() sets them to zero.
#pragma once

#include <posenc/bind/bind.hpp>

POSENC_NAMESPACE_BEGIN

class ParameterGradients {
 public:
  template <class E>
  explicit ParameterGradients(const Bound<E>& bound) {
    for (const auto& [self, ask] : bound.answers().asked()) {
      asked_.push_back(ask);
      first_.push_back(values_.size());
      if (ask->num_parameters)
        values_.resize(values_.size() + static_cast<std::size_t>(ask->num_parameters(self)));
    }
    first_.push_back(values_.size());
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

  /// All of them, component by component as written.
  [[nodiscard]] std::span<const double> values() const { return values_; }
  [[nodiscard]] std::span<double> values() { return values_; }

  /// Do the gradients have the components of this encoding, and their sizes?
  [[nodiscard]] bool is_of(const detail::Answers& answers) const {
    const std::span<const detail::Stage> stages = answers.asked();
    bool same = stages.size() == asked_.size();
    for (std::size_t i = 0; same && i < stages.size(); ++i) {
      const auto& [self, ask] = stages[i];
      const Index count = ask->num_parameters ? ask->num_parameters(self) : 0;
      same = ask == asked_[i] && first_[i + 1] - first_[i] == static_cast<std::size_t>(count);
    }
    return same;
  }

  void clear() { std::fill(values_.begin(), values_.end(), 0.0); }

 private:
  std::vector<const detail::Questions*> asked_;
  std::vector<std::size_t> first_;
  std::vector<double> values_;
};

POSENC_NAMESPACE_END
