// SPDX-License-Identifier: MIT
//
// The dense reference for tokens with indices of their own, which attention() does not take.
#pragma once

#include "../support/oracle.hpp"

namespace decode_test {

using namespace posenc;
using attention_test::size;

/// The dense reference over tokens that a cache holds: positions and indices as they are there.
template <class U, class BoundT>
ReferenceResult reference_of(const TensorView<const U>& q, const TensorView<const U>& k,
                             const TensorView<const U>& v, const std::vector<Position>& at,
                             const std::vector<Position>& index, const BoundT& bound) {
  const std::size_t first = size(k.tokens - q.tokens);
  const detail::reference::Widened queries(q), keys(k), values(v);
  return detail::reference::Call<double>{
      bound.answers(), bound.answers().rotary(),
      queries,         keys,
      values,          Positions(std::span(at).subspan(first)),
      Positions(at),   Positions(std::span(index).subspan(first)),
      Positions(index)}
      .attend();
}

}  // namespace decode_test
