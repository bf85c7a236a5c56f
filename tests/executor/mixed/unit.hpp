// SPDX-License-Identifier: MIT
//
// What each translation unit offers to main(). Nothing inline stands here.
#pragma once

/// What one unit sees and computed, as plain values.
struct UnitResult {
  static constexpr int capacity = 1000;
  float values[capacity] = {};
  const char* executor = "";         ///< the type of the default executor
  const char* any_executor = "";     ///< the type that options have
  bool as_the_default_says = false;  ///< AnyExecutor{} has as many threads as the default executor
};

namespace unit_serial {
UnitResult run_unit();
}
namespace unit_openmp {
UnitResult run_unit();
}
namespace unit_tbb {
UnitResult run_unit();
}
