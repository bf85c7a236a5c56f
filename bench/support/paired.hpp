// SPDX-License-Identifier: MIT
//
// A ratio measured in one run: the subject and a limit of the machine are timed in turns, batch by
// batch, so that whatever disturbs the machine disturbs both.
#pragma once

#include "support/timing.hpp"

#include <benchmark/benchmark.h>

#include <string>

namespace bench {

/// Reports, for a subject that moves `bytes` in a pass, medians of
///
///   GB/s             of the subject
///   <limit>_GB/s     of the limit
///   of_<limit>       speed of the subject / speed of the limit
///
/// and, as time, the subject's mean per pass (register with UseManualTime). A pass of the limit
/// moves the same bytes.
template <class Subject, class Limit>
void paired(benchmark::State& state, double bytes, const Subject& subject, const char* limit_name,
            const Limit& limit) {
  const auto subject_time = [&](int passes) { return seconds(passes, subject); };
  const auto limit_time = [&](int passes) { return seconds(passes, limit); };
  const int subject_passes = passes_of_batch(subject_time);
  const int limit_passes = passes_of_batch(limit_time);
  std::vector<double> subject_times, limit_times;
  while (state.KeepRunningBatch(subject_passes)) {
    limit_times.push_back(limit_time(limit_passes) / limit_passes);
    const double time = subject_time(subject_passes);
    subject_times.push_back(time / subject_passes);
    state.SetIterationTime(time);
  }
  const double subject_median = median(subject_times), limit_median = median(limit_times);
  const std::string name = limit_name;
  state.counters["GB/s"] = bytes / subject_median * 1e-9;
  state.counters[name + "_GB/s"] = bytes / limit_median * 1e-9;
  state.counters["of_" + name] = limit_median / subject_median;
}

}  // namespace bench
