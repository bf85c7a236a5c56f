// SPDX-License-Identifier: MIT
//
// Compiled once per set of -m flags; ODR_UNIT names the set. To cover more of the library, use it
// in one more function below and add its numbers to the result: main() compares them between the
// units.
#include "unit.hpp"

#if __has_include(<posenc/posenc.hpp>)
#include <posenc/posenc.hpp>
#endif
#include <posenc/core/problems.hpp>
#include <posenc/core/rotary_state.hpp>
#include <posenc/core/view.hpp>

#include <typeinfo>
#include <vector>

namespace ODR_UNIT {
namespace {

void add(UnitResult& result, double value) {
  if (result.count < UnitResult::capacity) result.values[result.count++] = value;
}

void use_frequencies(UnitResult& result) {
  const posenc::Frequencies inv_freq = posenc::geometric_frequencies(500000, 64);
  const posenc::Frequencies angles = inv_freq * 131072.0;
  for (posenc::Index i = 0; i < angles.size(); ++i) add(result, angles[i]);
}

void use_views(UnitResult& result) {
  std::vector<float> memory(3 * 2 * 4);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i) / 7.0f;
  const posenc::TensorView<float> view(memory.data(), 3, 2, 4);
  const posenc::TensorView<const float> tail = view.slice(1, 2);
  add(result, static_cast<double>(tail(1, 1, 3)));
}

void use_errors(UnitResult& result) {
  try {
    posenc::Problems problems;
    problems.require(false, "head_dim must be even, got ", 7, ".");
    problems.raise_if_any("odr");
  } catch (const posenc::Error& error) {
    add(result, static_cast<double>(error.problems().front().size()));
  }
}

}  // namespace

UnitResult run_unit() {
  UnitResult result;
  use_frequencies(result);
  use_views(result);
  use_errors(result);
  result.type_name = typeid(posenc::Problems).name();
  return result;
}

}  // namespace ODR_UNIT
