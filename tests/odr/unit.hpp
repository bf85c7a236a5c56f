// SPDX-License-Identifier: MIT
//
// What each translation unit offers to main(). Nothing inline stands here: it would be compiled
// with each unit's flags, and the linker would keep any one of them.
#pragma once

/// What one unit computed with the library, as plain numbers.
struct UnitResult {
  static constexpr int capacity = 1024;
  int count = 0;
  double values[capacity] = {};
  const char* type_name = "";  ///< of posenc::Problems as this unit sees it
};

/// How SIMD levels look from within a unit.
struct UnitLevels {
  const char* best = "";     ///< what dispatch() runs now
  bool has_avx2 = false;     ///< compiled in, whatever the machine has
  const char* refused = "";  ///< what is wrong when avx2 is forced, or ""
};

namespace avx512 {
UnitResult run_unit();
UnitLevels levels_of_unit();
void force_scalar(bool on);  ///< or take it back; for the whole program
}  // namespace avx512
namespace avx2 {
UnitResult run_unit();
UnitLevels levels_of_unit();
void force_scalar(bool on);  ///< or take it back; for the whole program
}  // namespace avx2
namespace baseline {
UnitResult run_unit();
UnitLevels levels_of_unit();
void force_scalar(bool on);  ///< or take it back; for the whole program
}  // namespace baseline
