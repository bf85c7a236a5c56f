// SPDX-License-Identifier: MIT
//
// Dispatch: which leaves run.
//
// The kernel is written in three layers. Leaves are the loops over raw pointers, one struct per
// level. The body is generic and names a leaf only through its Level parameter. An entry is the
// body, instantiated for one level. dispatch() calls the entry of the best level of this machine;
// the portable level is the one there is so far.
#pragma once

#include <posenc/simd/scalar/leaves.hpp>

#include <utility>

POSENC_NAMESPACE_BEGIN

namespace simd {

/// Calls body(Level{}) with the level to run at.
template <class Body>
decltype(auto) dispatch(Body&& body) {
  return std::forward<Body>(body)(Scalar{});
}

}  // namespace simd

POSENC_NAMESPACE_END
