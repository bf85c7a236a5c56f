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

namespace avx512 {
UnitResult run_unit();
}
namespace avx2 {
UnitResult run_unit();
}
namespace baseline {
UnitResult run_unit();
}
