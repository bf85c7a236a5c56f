// SPDX-License-Identifier: MIT
//
// Runs every unit that this CPU can run and compares its numbers with those of the baseline.
#include "unit.hpp"

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

}  // namespace

int main() {
  const UnitResult expected = baseline::run_unit();
  std::printf("baseline: %d numbers\n", expected.count);
#ifdef ODR_HAS_avx2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    check("avx2", avx2::run_unit(), expected);
  else
    std::puts("avx2: this CPU lacks it, not run");
#endif
#ifdef ODR_HAS_avx512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    check("avx512", avx512::run_unit(), expected);
  else
    std::puts("avx512: this CPU lacks it, not run");
#endif
  return failures == 0 ? 0 : 1;
}
