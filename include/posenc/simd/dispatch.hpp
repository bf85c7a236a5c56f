// SPDX-License-Identifier: MIT
//
// Dispatch: which leaves run.
//
// Hot code is written in three layers. Leaves are the loops over raw pointers, one struct per level
// with equal members, compiled for the instructions of that level. The body is compiled once and calls
// leaves through pointers. Tables of them, one for each level of the program (by_level), are how it
// reaches all; dispatch() calls a template for the level that runs on this machine.
#pragma once

#include <posenc/simd/avx2.hpp>
#include <posenc/simd/avx512.hpp>
#include <posenc/simd/neon.hpp>
#include <posenc/simd/scalar.hpp>

#include <array>

POSENC_NAMESPACE_BEGIN

namespace simd {

/// Calls body(L{}) with the level to run at for tensors of T. A level that only adds bfloat16 is not
/// compiled for other elements. Throws Error when a level was asked for that this machine or program
/// lacks.
template <Element T, class Body>
decltype(auto) dispatch(Body&& body) {
  switch (level()) {
#if defined(POSENC_DETAIL_LEVEL_AVX512)
    case Level::avx512_bf16:
      if constexpr (element_format<T> == ElementFormat::bfloat16) return body(Avx512Bf16{});
      [[fallthrough]];
    case Level::avx512:
      return body(Avx512{});
#endif
#if defined(POSENC_DETAIL_LEVEL_AVX2)
    case Level::avx2:
      return body(Avx2{});
#endif
#if defined(POSENC_DETAIL_LEVEL_NEON)
    case Level::neon:
      return body(Neon{});
#endif
    default:
      return body(Scalar{});
  }
}

/// A value for each level of the program, by its number.
template <class Value>
using ByLevel = std::array<Value, num_levels>;

/// make(L{}) for tensors of T, for each level.
template <Element T, class Make>
constexpr auto by_level(const Make& make) {
  using Value = decltype(make(Scalar{}));
  ByLevel<Value> values{};
  values.fill(make(Scalar{}));  // a level that the program lacks is never chosen
  [[maybe_unused]] const auto set = [&](Level level) -> Value& {
    return values[static_cast<std::size_t>(level)];
  };
#if defined(POSENC_DETAIL_LEVEL_AVX512)
  set(Level::avx512) = make(Avx512{});
  if constexpr (element_format<T> == ElementFormat::bfloat16)
    set(Level::avx512_bf16) = make(Avx512Bf16{});
  else
    set(Level::avx512_bf16) = set(Level::avx512);
#endif
#if defined(POSENC_DETAIL_LEVEL_AVX2)
  set(Level::avx2) = make(Avx2{});
#endif
#if defined(POSENC_DETAIL_LEVEL_NEON)
  set(Level::neon) = make(Neon{});
#endif
  return values;
}

}  // namespace simd

POSENC_NAMESPACE_END
