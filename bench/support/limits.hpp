// SPDX-License-Identifier: MIT
//
// Limits: what the machine can do, as the measure of everything else.
//
//   scale           x *= a in place        read + write
//   copy            y = x                  read + write
//   sum             of x                   read
//   multiply_add    a * b + c              two operations
//
// A ratio to a slow limit would flatter, so each limit exists in several ways (asking for memory
// ahead or not, one stream or more, past the caches or not) and the one that is fastest for the
// memory at hand counts. Scaling in place never goes past the caches: who rotates in place wants to
// find the result there.
#pragma once

#include "support/kernels.hpp"
#include "support/team.hpp"
#include "support/timing.hpp"

#include <benchmark/benchmark.h>

#include <array>
#include <stdexcept>

namespace bench {

/// A limit: each thread of a team does a part of its own, in the fastest way there is.
/// run(way, i, n) does part i of n.
template <class Way, class Run>
class Limit {
 public:
  template <class Ways>
  Limit(Team& team, double work, const Ways& ways, Run run)
      : team_(team), work_(work), run_(run),
        way_(fastest(ways, [this](Way way, int passes) { return time(way, passes); })) {}

  /// Bytes moved by a pass, or operations.
  [[nodiscard]] double work() const { return work_; }

  /// One pass; the threads begin and end together.
  void operator()() const { pass(way_, 1); }

  /// Seconds of some passes; the threads begin the first and end the last of them together.
  [[nodiscard]] double time(int passes) const { return time(way_, passes); }

 private:
  void pass(Way way, int times) const {
    const Index n = team_.size();
    team_.run(n, [&](Index i) {
      for (int k = 0; k < times; ++k) run_(way, i, n);
    });
  }
  double time(Way way, int passes) const {
    return seconds(1, [&] { pass(way, passes); });
  }

  Team& team_;
  double work_;
  Run run_;
  Way way_;
};

template <class Ways, class Run>
Limit(Team&, double, const Ways&, Run) -> Limit<typename Ways::value_type, Run>;

/// x *= -1, so that the numbers stay what they are however often.
inline auto scale_limit(Blocks x, Team& team) {
  if (x.width % Blocks::step != 0 || x.stride % Blocks::step != 0)
    throw std::invalid_argument("bench: blocks are multiples of 64 floats");
  return Limit(team, 2 * x.bytes(), kernels().scale,
               [x](auto way, Index i, Index n) { way(part(x, i, n), -1); });
}

inline auto copy_limit(Blocks x, float* y, Team& team) {
  return Limit(team, 2 * x.bytes(), kernels().copy, [x, y](auto way, Index i, Index n) {
    const Blocks from = part(x, i, n);
    way(from.data, y + (from.data - x.data), from.width);
  });
}

template <class Way>
void sum_rows(Way way, Blocks x) {
  for (Index r = 0; r < x.rows; ++r) benchmark::DoNotOptimize(way(x.data + r * x.stride, x.width));
}
inline auto sum_limit(Blocks x, Team& team) {
  return Limit(team, x.bytes(), kernels().sum,
               [x](auto way, Index i, Index n) { sum_rows(way, part(x, i, n)); });
}

/// The same of two places, such as keys and values: a thread reads its part of one, then of the
/// other.
inline auto sum_limit(Blocks x, Blocks y, Team& team) {
  return Limit(team, x.bytes() + y.bytes(), kernels().sum, [x, y](auto way, Index i, Index n) {
    sum_rows(way, part(x, i, n));
    sum_rows(way, part(y, i, n));
  });
}

/// `steps` decide how long a pass takes: 4,000 are some microseconds.
inline auto multiply_add_limit(Team& team, const Kernels& with = kernels(), Index steps = 4000) {
  return Limit(team, with.operations * static_cast<double>(steps * team.size()),
               std::array{with.multiply_add},
               [steps](auto way, Index, Index) { benchmark::DoNotOptimize(way(steps)); });
}

}  // namespace bench
