// SPDX-License-Identifier: MIT
//
// The order of schemes, as far as geometry says one, and what to begin with.
//
// Nothing here knows how a scheme is made: the order follows from numbers.
//
//   1  by class: within training, leaves it, moves neighbours, forgets
//   2  of those that leave: by how far
//   3  by the change of near scores, then by the change of the entropy, both in tenths of a nat
//   4  by time, in twentieths
//
// Where the loss of a scheme was measured, losses come first, and geometry orders the rest; a loss that is no
// number comes last. Losses of the model as it is and as its file has it alone decide nothing.
#pragma once

#include "../support/text.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace compare {

/// What is known of one scheme at the length to reach.
struct Evidence {
  int pairs_out = 0;             ///< rotary pairs that reach angles of no training
  double worst_ratio = 1;        ///< how far, of the greatest angle of training
  double step = 1;               ///< what the fastest pair turns from token to token, of training's
  double near_change = 0;        ///< nats: mean change of near scores, temperature aside
  double entropy = 0;            ///< nats
  double entropy_then = 0;       ///< nats, of the model at its trained length
  double time = 1;               ///< of the baseline
  bool reads_all = true;         ///< the last token sees every one
  bool given = false;            ///< the model unchanged or as its file has it: no scheme to choose
  std::optional<double> nats{};  ///< measured per token

  [[nodiscard]] double entropy_change() const { return entropy - entropy_then; }
  /// Whether its loss is a reason to choose a scheme.
  [[nodiscard]] bool decides() const { return !given && nats && !std::isnan(*nats); }
};

enum class Class { within, leaves, moves, forgets };

/// A scheme whose neighbours turn by less than this share of training's step has moved them.
inline constexpr double least_step = 2.0 / 3;

inline Class class_of(const Evidence& e) {
  if (!e.reads_all) return Class::forgets;
  if (e.step < least_step) return Class::moves;
  return e.pairs_out > 0 ? Class::leaves : Class::within;
}

inline const char* title_of(Class one) {
  switch (one) {
    case Class::within:
      return "within the angles of training, neighbours as they were";
    case Class::leaves:
      return "some pairs reach angles that training never showed";
    case Class::moves:
      return "neighbours are moved together";
    case Class::forgets:
      return "forgets: the last token does not see every token";
  }
  return "";
}

/// Whether a comes before b.
inline bool comes_before(const Evidence& a, const Evidence& b) {
  const auto key = [](const Evidence& e) {
    const Class group = class_of(e);
    const double far = group == Class::leaves ? e.worst_ratio : 1;
    const auto in = [](double value, double unit) { return std::round(value / unit); };
    const auto [is_nan, nats] = example::nan_last(e.nats.value_or(0));
    return std::tuple(is_nan   ? 2
                      : e.nats ? 0
                               : 1,
                      nats, static_cast<int>(group), in(far, 0.01), in(e.near_change, 0.1),
                      in(std::abs(e.entropy_change()), 0.1), in(e.time, 0.05));
  };
  return key(a) < key(b);
}

/// Whether losses come before geometry: that of a scheme was measured.
inline bool losses_decide(std::span<const Evidence> all) {
  return std::any_of(all.begin(), all.end(), [](const Evidence& e) { return e.decides(); });
}

/// Places in the order, the best first; what comes first of equals stays first.
inline std::vector<std::size_t> ranked(std::vector<Evidence> all) {
  if (!losses_decide(all))
    for (Evidence& e : all)
      if (e.nats && !std::isnan(*e.nats)) e.nats.reset();
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return comes_before(all[a], all[b]); });
  return order;
}

}  // namespace compare
