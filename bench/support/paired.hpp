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

namespace bench {

/// A median needs values: twenty-five, or as many as three seconds give, at least three.
inline bool enough(const std::vector<double>& times) {
  if (std::size(times) < 3) return false;
  return std::size(times) >= 25 || std::accumulate(times.begin(), times.end(), 0.0) > 3;
}

/// Median seconds of a pass, of the subject and of each of the others. As time the benchmark gets
/// the subject's mean per pass (register with UseManualTime).
template <class Subject, class... Others>
std::array<double, 1 + sizeof...(Others)> in_turns(benchmark::State& state, const Subject& subject,
                                                   const Others&... others) {
  std::array<std::vector<double>, 1 + sizeof...(Others)> times;
  const auto batch_of = [](const auto& pass) {
    return passes_of_batch([&](int passes) { return seconds(passes, pass); });
  };
  const std::array<int, 1 + sizeof...(Others)> passes{batch_of(subject), batch_of(others)...};
  const auto round = [&] {
    std::size_t i = 0;
    const auto time = [&](const auto& pass) {
      times[i].push_back(seconds(passes[i], pass) / passes[i]);
      ++i;
    };
    (time(subject), ..., time(others));
  };
  while (state.KeepRunningBatch(passes[0])) {
    round();
    state.SetIterationTime(times[0].back() * passes[0]);
  }
  while (!enough(times[0])) round();
  std::array<double, 1 + sizeof...(Others)> medians{};
  for (std::size_t i = 0; i < medians.size(); ++i) medians[i] = median(times[i]);
  return medians;
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
