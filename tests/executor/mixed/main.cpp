// SPDX-License-Identifier: MIT
//
// Units with different default executors in one program: each keeps its own, because the namespace
// that the linker sees names it.
#include "../../support/catch.hpp"
#include "unit.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace {

void check_unit(const UnitResult& result, const std::string& executor, const std::string& token) {
  INFO(result.executor << ", " << result.any_executor);
  CHECK(std::string(result.executor).find(executor) != std::string::npos);
  CHECK(std::string(result.any_executor).find(token) != std::string::npos);
  CHECK(result.as_the_default_says);
}

}  // namespace

TEST_CASE("default executors: one for each unit, and the same results") {
  std::vector<UnitResult> units{unit_serial::run_unit()};
  check_unit(units.back(), "Serial", "_serial");
#ifdef MIXED_HAS_openmp
  units.push_back(unit_openmp::run_unit());
  check_unit(units.back(), "OpenMP", "_openmp");
#endif
#ifdef MIXED_HAS_tbb
  units.push_back(unit_tbb::run_unit());
  check_unit(units.back(), "TBB", "_tbb");
#endif

  std::set<std::string> names;
  for (const UnitResult& unit : units) {
    names.insert(unit.any_executor);
    CHECK(std::equal(std::begin(unit.values), std::end(unit.values),
                     std::begin(units.front().values)));
  }
  CHECK(names.size() == units.size());
}
