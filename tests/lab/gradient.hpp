// SPDX-License-Identifier: MIT
//
// What models are held to that are trained: gradients to differences of the loss, and trainings to one another.
#pragma once

#include "schemes.hpp"

#include <sstream>

namespace lab_test {

inline double loss(const lab::Weights& weights, const lab::BoundScheme& scheme,
                   const lab::TokenRows& rows) {
  std::vector<float> losses(static_cast<std::size_t>(rows.tokens()));
  lab::Pass(false).forward(weights, scheme, rows, losses);
  double sum = 0;
  for (const float x : losses) sum += static_cast<double>(x);
  return sum / static_cast<double>(losses.size());
}

/// Along random directions of all weights and of what the scheme learns, by steps `learned_step` times as long, in four
/// sequences of nine tokens.
inline void check_gradient(const lab::Scheme& scheme, double learned_step = 1, double step = 2e-3) {
  CAPTURE(scheme.name);
  SeededRandom random(3);
  lab::Weights weights = lab::Weights::random(tiny, random);
  for (float& w : weights.values()) w += static_cast<float>(random.real(-0.2, 0.2));
  const std::vector<std::uint8_t> text = small_text(200);
  const lab::TokenRows rows{4, 9, std::span(text).first(36), std::span(text).subspan(1, 36)};
  const lab::BoundScheme bound(scheme, scheme.learned, tiny.layers, tiny.heads);
  const std::vector<float> even(36, 1.0F / 36);
  std::vector<float> losses(36);
  lab::Weights gradient(tiny);
  std::vector<double> learned(scheme.learned.size());
  lab::Pass pass(true);
  pass.forward(weights, bound, rows, losses);
  pass.backward(weights, bound, rows, even, gradient, learned);
  for (int direction = 0; direction < 4; ++direction) {
    lab::Weights ahead = weights, behind = weights;
    std::vector<double> learned_ahead = scheme.learned, learned_behind = scheme.learned;
    double along = 0;
    for (std::size_t i = 0; i < weights.values().size(); ++i) {
      const double d = random.real(-1, 1);
      ahead.values()[i] += static_cast<float>(step * d);
      behind.values()[i] -= static_cast<float>(step * d);
      along += d * static_cast<double>(gradient.values()[i]);
    }
    for (std::size_t i = 0; i < learned.size(); ++i) {
      const double d = random.real(-1, 1) * learned_step;
      learned_ahead[i] += step * d, learned_behind[i] -= step * d;
      along += d * learned[i];
    }
    const double slope = (loss(ahead, {scheme, learned_ahead, tiny.layers, tiny.heads}, rows) -
                          loss(behind, {scheme, learned_behind, tiny.layers, tiny.heads}, rows)) /
                         (2 * step);
    CHECK_THAT(along, WithinAbs(slope, 2e-3 * (1 + std::abs(slope))));
  }
}

/// The state behind a training on a text in which each byte says the next; its loss falls.
inline std::string trained(const lab::Scheme& scheme, Index length, const AnyExecutor& executor) {
  std::vector<std::uint8_t> text(3000);
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::uint8_t>(3 * i % 16);
  lab::Training training(
      tiny, scheme,
      {.steps = 40, .length = length, .sequences = 10, .optimizer = {.rate = 2e-2, .warm_up = 4}});
  std::vector<double> bits;
  while (!training.done()) bits.push_back(training.step(lab::text_rows(text), executor));
  CHECK(bits.back() < bits.front() - 1);
  std::ostringstream state;
  training.save(state);
  return state.str();
}

}  // namespace lab_test
