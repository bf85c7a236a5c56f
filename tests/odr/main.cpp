// SPDX-License-Identifier: MIT
//
// Runs every unit that this CPU can run and compares its numbers with those of the baseline.
#include "unit.hpp"

#include <posenc/core/abi.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>

namespace {

int failures = 0;

void check(const char* unit, const UnitResult& wide, const UnitResult& baseline) {
  if (std::strcmp(wide.type_name, baseline.type_name) == 0) {
    std::printf("%s: posenc's types have the same name as in the baseline unit\n", unit);
    ++failures;
  }
  if (wide.count != baseline.count) {
    std::printf("%s: %d numbers, baseline has %d\n", unit, wide.count, baseline.count);
    ++failures;
    return;
  }
  // Instruction sets may differ in rounding (fused multiply-add, order of sums), not in more.
  for (int i = 0; i < wide.count; ++i) {
    const double bound = 1e-5 * std::fmax(1.0, std::fabs(baseline.values[i]));
    if (!(std::fabs(wide.values[i] - baseline.values[i]) <= bound)) {
      std::printf("%s: number %d is %.17g, baseline has %.17g\n", unit, i, wide.values[i],
                  baseline.values[i]);
      ++failures;
    }
  }
  std::printf("%s: %d numbers compared\n", unit, wide.count);
}

void expect(bool holds, const char* unit, const char* what) {
  if (holds) return;
  std::printf("%s: %s\n", unit, what);
  ++failures;
}

/// Levels below a level that a unit's flags promise are not in it, and all units obey one choice.
void check_levels(const char* unit, UnitLevels (*levels_of_unit)(), bool above_avx2) {
  const UnitLevels levels = levels_of_unit();
  std::printf("%s: level %s runs\n", unit, levels.best);
  expect(*levels.refused == 0, unit, levels.refused);
  expect(levels.has_avx2 == !above_avx2, unit,
         "level avx2 is in it, or is not, against its flags and levels");
  baseline::force_scalar(true);
  expect(std::strcmp(levels_of_unit().best, "scalar") == 0, unit,
         "another unit forced scalar, and something else runs");
  baseline::force_scalar(false);
  expect(std::strcmp(levels_of_unit().best, levels.best) == 0, unit,
         "after the force was taken back, another level runs");
}

}  // namespace

int main() {
  const UnitResult expected = baseline::run_unit();
  std::printf("baseline: %d numbers\n", expected.count);
  check_levels("baseline", baseline::levels_of_unit, false);
#ifdef ODR_HAS_avx2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    check("avx2", avx2::run_unit(), expected), check_levels("avx2", avx2::levels_of_unit, false);
  else
    std::puts("avx2: this CPU lacks it, not run");
#endif
#ifdef ODR_HAS_avx512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    check("avx512", avx512::run_unit(), expected),
        check_levels("avx512", avx512::levels_of_unit, POSENC_LEVEL_AVX512 != 0);
  else
    std::puts("avx512: this CPU lacks it, not run");
#endif
  return failures == 0 ? 0 : 1;
}
