// SPDX-License-Identifier: MIT
//
// Timing on a machine that others use too: batches just long enough for the clock, so that most of
// them are not interrupted, and the median of many.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <vector>

namespace bench {

/// Seconds that `passes` calls take.
template <class Pass>
double seconds(int passes, const Pass& pass) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (int i = 0; i < passes; ++i) {
    pass();
    benchmark::ClobberMemory();
  }
  return std::chrono::duration<double>(Clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// How many passes take at least 20 microseconds, a thousand times what reading the clock takes.
/// time(passes) are their seconds.
template <class Time>
int passes_of_batch(const Time& time) {
  constexpr double enough = 20e-6, certainly_enough = 50e-3;
  for (int passes = 1;; passes *= 2) {
    // The shortest of some, because an interrupted one would look long enough.
    double shortest = std::numeric_limits<double>::max();
    for (int i = 0; i < 5 && shortest >= enough; ++i) {
      shortest = std::min(shortest, time(passes));
      if (shortest >= certainly_enough) return passes;
    }
    if (shortest >= enough) return passes;
  }
}

/// Which of several ways of doing the same is the fastest here: tried in turns. time(way, passes)
/// are the seconds of so many passes.
template <class Ways, class Time>
auto fastest(const Ways& ways, const Time& time) {
  const int passes = passes_of_batch([&](int n) { return time(ways[0], n); });
  std::vector<std::vector<double>> times(std::size(ways));
  for (int round = 0; round < 7; ++round)
    for (std::size_t i = 0; i < times.size(); ++i) times[i].push_back(time(ways[i], passes));
  std::size_t best = 0;
  for (std::size_t i = 1; i < times.size(); ++i)
    if (median(times[i]) < median(times[best])) best = i;
  return ways[best];
}

/// The exponent of y = c x^e.
inline double exponent(const std::vector<double>& x, const std::vector<double>& y) {
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  const auto n = static_cast<double>(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double a = std::log(x[i]), b = std::log(y[i]);
    sx += a, sy += b, sxx += a * a, sxy += a * b;
  }
  return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

}  // namespace bench
