// SPDX-License-Identifier: MIT
//
// Ratios measured in one run: the subject and what it is compared with are timed in turns, batch by
// batch, so that whatever disturbs the machine disturbs all of them.
#pragma once

#include "support/timing.hpp"

#include <benchmark/benchmark.h>

#include <array>
#include <numeric>
#include <string>
#include <tuple>

namespace bench {

/// A median needs values: twenty-five, or as many as three seconds give, at least three.
inline bool enough(const std::vector<double>& times) {
  if (std::size(times) < 3) return false;
  return std::size(times) >= 25 || std::accumulate(times.begin(), times.end(), 0.0) > 3;
}

/// Several ways to pass the time, timed in turns.
template <class... Passes>
class Turns {
 public:
  static constexpr std::size_t size = sizeof...(Passes);

  explicit Turns(const Passes&... passes) : passes_(passes...), batch_{batch_of(passes)...} {}

  void round() {
    std::size_t i = 0;
    const auto time = [&](const auto& pass) {
      times_[i].push_back(seconds(batch_[i], pass) / batch_[i]);
      ++i;
    };
    std::apply([&](const auto&... pass) { (time(pass), ...); }, passes_);
  }
  void rounds() {
    while (!enough(times_[0])) round();
  }

  /// Of the first: passes in a batch, and seconds of a pass in the last one.
  [[nodiscard]] int batch() const { return batch_[0]; }
  [[nodiscard]] double last() const { return times_[0].back(); }

  /// Median seconds of a pass of each.
  [[nodiscard]] std::array<double, size> medians() const {
    std::array<double, size> medians{};
    for (std::size_t i = 0; i < size; ++i) medians[i] = median(times_[i]);
    return medians;
  }

 private:
  template <class Pass>
  static int batch_of(const Pass& pass) {
    return passes_of_batch([&](int passes) { return seconds(passes, pass); });
  }

  std::tuple<const Passes&...> passes_;
  std::array<int, size> batch_;
  std::array<std::vector<double>, size> times_;
};

/// Median seconds of a pass, of the subject and of each of the others. As time the benchmark gets
/// the subject's mean per pass (register with UseManualTime).
template <class Subject, class... Others>
std::array<double, 1 + sizeof...(Others)> in_turns(benchmark::State& state, const Subject& subject,
                                                   const Others&... others) {
  Turns turns(subject, others...);
  while (state.KeepRunningBatch(turns.batch())) {
    turns.round();
    state.SetIterationTime(turns.last() * turns.batch());
  }
  turns.rounds();
  return turns.medians();
}

/// The same where what is measured takes long to prepare: the benchmark runs once and gets the
/// subject's median (register with Iterations(1) and UseManualTime).
template <class Subject, class... Others>
std::array<double, 1 + sizeof...(Others)> once_in_turns(benchmark::State& state,
                                                        const Subject& subject,
                                                        const Others&... others) {
  Turns turns(subject, others...);
  while (state.KeepRunning()) {
    turns.rounds();
    state.SetIterationTime(turns.medians()[0]);
  }
  return turns.medians();
}

/// Reports, for a subject that moves `bytes` in a pass, medians of
///
///   GB/s             of the subject
///   <limit>_GB/s     of the limit
///   of_<limit>       speed of the subject / speed of the limit
///
/// A pass of the limit moves the same bytes.
template <class Subject, class Limit>
void paired(benchmark::State& state, double bytes, const Subject& subject, const char* limit_name,
            const Limit& limit) {
  const auto [subject_median, limit_median] = in_turns(state, subject, limit);
  const std::string name = limit_name;
  state.counters["GB/s"] = bytes / subject_median * 1e-9;
  state.counters[name + "_GB/s"] = bytes / limit_median * 1e-9;
  state.counters["of_" + name] = limit_median / subject_median;
}

}  // namespace bench
