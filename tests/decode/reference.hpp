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
  const detail::reference::Call<U, U, U> call{bound.answers(),
                                              bound.answers().rotary(),
                                              q,
                                              k,
                                              v,
                                              Positions(std::span(at).subspan(first)),
                                              Positions(at),
                                              Positions(std::span(index).subspan(first)),
                                              Positions(index)};
  ReferenceResult result;
  result.out.resize(size(q.tokens * q.heads * v.width));
  result.lse.resize(size(q.tokens * q.heads));
  for (Index r = 0; r < q.tokens; ++r)
    call.attend(r, result.out.data() + r * q.heads * v.width, result.lse.data() + r * q.heads);
  return result;
}

}  // namespace decode_test
