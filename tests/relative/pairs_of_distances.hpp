// SPDX-License-Identifier: MIT
//
// A component that has vectors of every kind by distance, for tests of attention and of decode.
#pragma once

#include "formula.hpp"

#include <posenc/core/relative_table.hpp>

#include <algorithm>
#include <vector>

namespace relative_test {

/// A component of the user's, of all kinds at once: buckets fall with distance, two distances share
/// one, vectors lie apart, and products have constants.
template <posenc::Index heads, posenc::Index width, posenc::Index value_dim>
struct PairsOfDistances {
  Position reach;
  std::vector<float> keys, queries, values;
  std::vector<double> constants;

  explicit PairsOfDistances(Position reach_)
      : reach(reach_), keys(noise(buckets() * (width + 3), 8)),
        queries(noise(buckets() * heads * width, 9)),
        values(noise(buckets() * (value_dim + 2), 10)) {
    for (const float x : noise(heads * buckets(), 11)) constants.push_back(static_cast<double>(x));
  }
  [[nodiscard]] Index buckets() const { return reach + 1; }
  [[nodiscard]] Index bucket(Position distance) const {
    return (reach - std::clamp(distance, -reach, reach)) / 2;
  }
  [[nodiscard]] RelativeTable relative_keys() const {
    return {keys.data(), buckets(), width, width + 3, 0, constants.data()};
  }
  [[nodiscard]] RelativeTable relative_queries() const {
    return {queries.data(), buckets(), width, width, buckets() * width, constants.data()};
  }
  [[nodiscard]] RelativeTable relative_values() const {
    return {values.data(), buckets(), value_dim, value_dim + 2, 0, nullptr};
  }
};

}  // namespace relative_test
