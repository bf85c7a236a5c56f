// SPDX-License-Identifier: MIT
//
// Times: the last tokens of a sequence of the asked length read all keys before them, at their true
// positions.
//
// One query block of a prefill stands for all of it: a scheme costs what it adds to each score, and
// what it prepares for a call. Keys are one head of random numbers that all key heads share;
// sequences beyond `most_keys` have the last ones of their keys.
#pragma once

#include "../support/progress.hpp"
#include "schemes.hpp"

#include <ctime>

namespace compare {

class TimedCall {
 public:
  TimedCall(const Setting& at, unsigned seed)
      : width_(at.layer.head_dim), heads_(at.num_heads), kv_heads_(at.num_kv_heads) {
    constexpr Position most_floats = Position{1} << 25, most_pairs = Position{1} << 25;
    keys_ = static_cast<Index>(std::clamp<Position>(most_floats / width_, 1, at.target));
    queries_ = std::clamp<Index>(static_cast<Index>(most_pairs) / (keys_ * heads_),
                                 std::min<Index>(32, keys_), keys_);
    key_offset_ = at.target - keys_;
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    q_.resize(static_cast<std::size_t>(queries_ * heads_ * width_));
    k_.resize(static_cast<std::size_t>(keys_ * width_));
    for (std::vector<float>* x : {&q_, &k_})
      for (float& one : *x) one = uniform(random);
    out_.resize(q_.size());
  }

  [[nodiscard]] Index num_queries() const { return queries_; }
  [[nodiscard]] Index num_keys() const { return keys_; }

  /// Seconds of the processor; one thread works.
  [[nodiscard]] double operator()(const posenc::AnyBound& bound) {
    const posenc::TensorView<const float> keys{k_.data(), keys_, kv_heads_, width_, width_, 0};
    const double before = seconds();
    posenc::attention<float>(
        posenc::TensorView<const float>(q_.data(), queries_, heads_, width_), keys, keys,
        posenc::TensorView<float>(out_.data(), queries_, heads_, width_), bound,
        {.query_offset = key_offset_ + keys_ - queries_, .key_offset = key_offset_});
    return seconds() - before;
  }
  [[nodiscard]] static double seconds() {
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  }

 private:
  Index width_, heads_, kv_heads_, keys_ = 0, queries_ = 0;
  Position key_offset_ = 0;
  std::vector<float> q_, k_, out_;
};

/// Rounds in which every scheme runs once, so that a busy machine is equally unfair to all. Rows of
/// another length than the baseline's have no time. Returns the rounds.
inline int measure_times(std::vector<Row>& rows, TimedCall& call, int most_rounds,
                         const example::Progress& progress) {
  const int least_rounds = std::min(3, most_rounds);
  constexpr double budget = 15;  // seconds
  std::vector<std::size_t> timed;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].kind != Row::reference) timed.push_back(i);
  const auto base = std::find_if(timed.begin(), timed.end(),
                                 [&](std::size_t i) { return rows[i].kind == Row::baseline; });
  std::vector<std::vector<double>> times(timed.size());
  const double start = TimedCall::seconds();
  static_cast<void>(call(*rows[*base].bound));  // warm up
  int rounds = 0;
  for (; rounds < most_rounds && (rounds < least_rounds || TimedCall::seconds() - start < budget);
       ++rounds) {
    progress.say("timing, round " + std::to_string(rounds + 1));
    for (std::size_t n = 0; n < timed.size(); ++n) {  // each round begins elsewhere
      const std::size_t i = (n + static_cast<std::size_t>(rounds) * 5) % timed.size();
      times[i].push_back(call(*rows[timed[i]].bound));
    }
  }
  const auto& base_times = times[static_cast<std::size_t>(base - timed.begin())];
  for (std::size_t i = 0; i < timed.size(); ++i) {
    std::vector<double> ratios;
    for (std::size_t r = 0; r < base_times.size(); ++r)
      ratios.push_back(times[i][r] / std::max(base_times[r], 1e-9));
    std::nth_element(ratios.begin(), ratios.begin() + std::ssize(ratios) / 2, ratios.end());
    rows[timed[i]].relative_time = ratios[ratios.size() / 2];
  }
  return rounds;
}

}  // namespace compare
