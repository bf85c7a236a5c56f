// SPDX-License-Identifier: MIT
//
// Where the gradients of a mixer go; see backward.hpp.
#pragma once

#include <posenc/core/view.hpp>
#include <posenc/mixers/mixer.hpp>

#include <array>
#include <cstddef>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// The gradients of what a recurrence has learned, which backward() adds to; all in the terms of Recurrence. A mixer's
/// own parameters follow by the chain rule: Mamba2's A_log has rates[h] times the gradient of the rate, RWKV5's
/// time_decay log_decay[i] times that of the log decay.
struct RecurrenceGradients {
  explicit RecurrenceGradients(const Mixer& mixer) {
    const auto [log_decays, bonuses, skips, of_rates, of_biases] = sizes_of(mixer);
    log_decay.resize(log_decays), bonus.resize(bonuses), skip.resize(skips);
    rates.resize(of_rates), biases.resize(of_biases);
  }
  /// Are these the gradients of such a mixer?
  [[nodiscard]] bool fit(const Mixer& mixer) const {
    return sizes_of(mixer) == std::array<std::size_t, 5>{log_decay.size(), bonus.size(),
                                                         skip.size(), rates.size(), biases.size()};
  }

  std::vector<double>
      log_decay{};              ///< [heads] or [heads][key_dim], where the decays are parameters
  std::vector<double> bonus{};  ///< [heads][key_dim], where there is one
  std::vector<double> skip{};   ///< [heads], where there is one
  std::vector<double> rates{}, biases{};  ///< [heads], where a rule has parameters of heads

 private:
  /// How many numbers each has.
  static std::array<std::size_t, 5> sizes_of(const Mixer& mixer) {
    const Recurrence& of = mixer.recurrence();
    const auto heads = static_cast<std::size_t>(of.shape.heads);
    const auto by_head = [&](const std::vector<float>& x) {
      return of.rule && x.size() >= heads ? heads : 0;
    };
    return {of.log_decay.size(), of.bonus.size(), of.skip.size(), by_head(of.rates),
            by_head(of.biases)};
  }
};

/// Where gradients go. They are overwritten, and heads that share a key add to its gradients.
struct Gradients {
  TensorView<float> q, k, v;               ///< as the inputs
  TensorView<float> decay{};               ///< as the inputs, for mixers whose decay comes by token
  TensorView<float> beta{}, removal{};     ///< as the inputs, for delta rules
  RecurrenceGradients* learned = nullptr;  ///< of the same mixer; null: not wanted
};

}  // namespace mixers

POSENC_NAMESPACE_END
