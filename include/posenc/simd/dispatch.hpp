// SPDX-License-Identifier: MIT
//
// Dispatch: which leaves run.
//
// Hot code is written in three layers. Leaves are the loops over raw pointers, one struct per level
// with equal members, compiled for the instructions of that level. The body is generic and names a
// leaf only through its Level parameter. An entry is the body, instantiated for one level;
// dispatch() calls the entry of the level that runs on this machine, once per call.
#pragma once

#include <posenc/simd/avx2.hpp>
#include <posenc/simd/avx512.hpp>
#include <posenc/simd/neon.hpp>
#include <posenc/simd/scalar.hpp>

POSENC_NAMESPACE_BEGIN

namespace simd {

/// Calls body(L{}) with the level to run at for tensors of T. A level that only adds bfloat16 is not
/// compiled for other elements. Throws Error when a level was asked for that this machine or program
/// lacks.
template <Element T, class Body>
decltype(auto) dispatch(Body&& body) {
  switch (level()) {
#if defined(POSENC_DETAIL_X86_64)
    case Level::avx512_bf16:
      if constexpr (element_format<T> == ElementFormat::bfloat16) return body(Avx512Bf16{});
      [[fallthrough]];
    case Level::avx512:
      return body(Avx512{});
#if !defined(POSENC_DETAIL_BASELINE_AVX512)
    case Level::avx2:
      return body(Avx2{});
#endif
#endif
#if defined(POSENC_DETAIL_NEON)
    case Level::neon:
      return body(Neon{});
#endif
    default:
      return body(Scalar{});
  }
}

}  // namespace simd

POSENC_NAMESPACE_END
