// SPDX-License-Identifier: MIT
//
// Compiled once per default executor; MIXED_UNIT names the unit.
#include "unit.hpp"

#include <posenc/executor/chunks.hpp>

#include <cmath>
#include <typeinfo>

namespace MIXED_UNIT {

UnitResult run_unit() {
  UnitResult result;
  posenc::for_chunks({}, UnitResult::capacity, 1, [&](posenc::Index first, posenc::Index last) {
    for (posenc::Index i = first; i < last; ++i)
      result.values[i] = std::sqrt(static_cast<float>(i)) / 3;
  });
  result.executor = typeid(posenc::DefaultExecutor).name();
  result.any_executor = typeid(posenc::AnyExecutor).name();
  result.as_the_default_says =
      posenc::AnyExecutor{}.concurrency() == posenc::DefaultExecutor{}.concurrency();
  return result;
}

}  // namespace MIXED_UNIT
