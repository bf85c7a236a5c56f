// SPDX-License-Identifier: MIT
//
// Vectors by distance: what a query meets beside keys, a key beside queries, a weight beside values.
//
// Distances are sorted into buckets and each bucket has a vector, for every head or for all of them. Vectors by
// context have one for each of the positions that the contents of tokens decide.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// A view of the vectors of all heads and buckets. The component that hands it out owns the memory.
struct RelativeTable {
  const float* data = nullptr;  ///< null, with no buckets: no such vectors, and the term is absent
  Index buckets = 0;
  Index width = 0;          ///< of a vector, whose elements lie side by side
  Index bucket_stride = 0;  ///< elements from a vector to that of the next bucket
  Index head_stride = 0;    ///< elements to the next head; 0 where heads share their vectors

  /// [head][bucket]: numbers that are added to the products; null for none.
  const double* constants = nullptr;

  [[nodiscard]] const float* row(Index head, Index bucket) const {
    return data + head * head_stride + bucket * bucket_stride;
  }
  [[nodiscard]] double constant(Index head, Index bucket) const {
    return constants ? constants[head * buckets + bucket] : 0.0;
  }
};

/// Vectors of positions 0, 1, ..., buckets - 1 that contents decide.
struct ContextTable {
  RelativeTable vectors{};
  bool scaled =
      true;  ///< products are multiplied by the softmax scale and temperature, as those of keys are
};

namespace detail {

/// Reports a table of the component `who` with a value that is not finite.
inline void check_finite(Problems& problems, const char* who, const char* what,
                         const std::vector<float>& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      return problems.add(who, ": every value of ", what, " must be finite, got ", values[i],
                          " at element ", i, ".");
}

}  // namespace detail

POSENC_NAMESPACE_END
