// SPDX-License-Identifier: MIT
//
// Kernels: the loops that take the machine to its limits, for each instruction set, each in several
// ways. What is fastest depends on the machine and on how much memory is touched, so nobody chooses
// here; limits.hpp tries.
//
// For memory the instruction set is the best of the machine, whatever POSENC_SIMD says; multiply-adds
// are compared with those of the level that runs.
#pragma once

#include <posenc/core/types.hpp>
#include <posenc/simd/level.hpp>
#include <posenc/simd/region.hpp>

#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#if defined(POSENC_DETAIL_X86_64)
#include <immintrin.h>
#elif defined(POSENC_DETAIL_NEON)
#include <arm_neon.h>
#endif

namespace bench {

using posenc::Index;

/// Floats: `rows` blocks of `width`, `stride` apart. Multiples of `step`.
struct Blocks {
  Blocks(float* data_, Index rows_, Index width_, Index stride_)
      : data(data_), rows(rows_), width(width_), stride(stride_) {}
  /// Contiguous memory.
  Blocks(float* data_, Index floats) : Blocks(data_, 1, floats, floats) {}

  static constexpr Index step = 64;

  float* data;
  Index rows, width, stride;

  [[nodiscard]] double bytes() const { return static_cast<double>(rows * width) * sizeof(float); }
};

/// Part i of n equal ones, as near as multiples of Blocks::step allow.
inline std::pair<Index, Index> part(Index length, Index unit, Index i, Index n) {
  const Index units = length / unit;
  return {units * i / n * unit, units * (i + 1) / n * unit};
}
inline Blocks part(Blocks all, Index i, Index n) {
  if (all.rows == 1) {
    const auto [begin, end] = part(all.width, Blocks::step, i, n);
    return {all.data + begin, 1, end - begin, all.stride};
  }
  const auto [begin, end] = part(all.rows, 1, i, n);
  return {all.data + begin * all.stride, end - begin, all.width, all.stride};
}

/// Two equal parts, or all and nothing.
inline std::array<Blocks, 2> halves(Blocks all) {
  const bool even = (all.rows == 1 ? all.width / Blocks::step : all.rows) % 2 == 0;
  if (!even) return {all, Blocks{all.data, 0, 0, 0}};
  return {part(all, 0, 2), part(all, 1, 2)};
}

/// The ways of each limit, for one instruction set.
struct Kernels {
  const char* name;
  std::array<void (*)(Blocks, float), 6> scale;
  std::array<void (*)(const float*, float*, Index), 6> copy;
  std::array<float (*)(const float*, Index), 6> sum;
  float (*multiply_add)(Index steps);
  double operations;  ///< of a step
};

inline void copy_by_library(const float* x, float* y, Index n) {
  std::memcpy(y, x, static_cast<std::size_t>(n) * sizeof(float));
}
/// The instruction for it, where there is one.
inline void copy_by_instruction(const float* x, float* y, Index n) {
#if defined(POSENC_DETAIL_X86_64)
  auto bytes = static_cast<std::size_t>(n) * sizeof(float);
  __asm__ volatile("rep movsb" : "+S"(x), "+D"(y), "+c"(bytes)::"memory");
#else
  copy_by_library(x, y, n);
#endif
}

#define BENCH_VECTOR(bytes)                                                      \
  typedef float Vec __attribute__((vector_size(bytes), may_alias)); /* NOLINT */ \
  inline constexpr int lanes = bytes / sizeof(float)

namespace baseline {
BENCH_VECTOR(16);
#if defined(POSENC_DETAIL_NEON)
inline constexpr std::size_t accumulators = 16;
inline Vec multiply_add(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
#else
inline constexpr std::size_t accumulators = 12;
inline Vec multiply_add(Vec a, Vec b, Vec c) { return a * b + c; }
#endif
#if defined(POSENC_DETAIL_X86_64)
inline void stream(float* to, Vec v) { _mm_stream_ps(to, v); }
#else
inline void stream(float* to, Vec v) { *reinterpret_cast<Vec*>(to) = v; }
#endif
#include "support/kernels.inl"
}  // namespace baseline

#if defined(POSENC_DETAIL_X86_64)
namespace avx2 {
POSENC_REGION_BEGIN("avx2,fma")
BENCH_VECTOR(32);
inline constexpr std::size_t accumulators = 12;
inline Vec multiply_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline void stream(float* to, Vec v) { _mm256_stream_ps(to, v); }
#include "support/kernels.inl"
POSENC_REGION_END
}  // namespace avx2

namespace avx512 {
POSENC_REGION_BEGIN("avx512f")
BENCH_VECTOR(64);
inline constexpr std::size_t accumulators = 16;
inline Vec multiply_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline void stream(float* to, Vec v) { _mm512_stream_ps(to, v); }
#include "support/kernels.inl"
POSENC_REGION_END
}  // namespace avx512
#endif
#undef BENCH_VECTOR

inline const Kernels& kernels() {
#if defined(POSENC_DETAIL_X86_64)
  if (posenc::simd::machine().avx512) return avx512::kernels;
  if (posenc::simd::machine().avx2) return avx2::kernels;
#endif
  return baseline::kernels;
}

/// With the instructions of one level of the library.
inline const Kernels& kernels([[maybe_unused]] posenc::simd::Level level) {
#if defined(POSENC_DETAIL_X86_64)
  using enum posenc::simd::Level;
  if (level == avx512 || level == avx512_bf16) return avx512::kernels;
  if (level == avx2) return avx2::kernels;
#endif
  return baseline::kernels;
}

}  // namespace bench
