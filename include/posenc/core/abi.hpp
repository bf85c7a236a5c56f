// SPDX-License-Identifier: MIT
//
// One namespace per baseline instruction set and default executor.
//
// A header-only library is compiled into many translation units, and these may be compiled with
// different -m flags. The linker keeps one copy of every inline function; were the copy built with
// AVX-512 to win, a program that promised to run everywhere would stop with an illegal instruction.
// So everything in posenc lives in an inline namespace that names the baseline the compiler was
// given. Users never see it: posenc::RoPE is posenc::RoPE in each unit.
//
// The same goes for the default executor (executor/any_executor.hpp), which each unit chooses by a
// macro: POSENC_EXECUTOR_OPENMP, POSENC_EXECUTOR_TBB, or neither for serial.
#pragma once

#include <posenc/version.hpp>

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "posenc needs C++20: compile with -std=c++20 or later."
#endif

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ && !defined(POSENC_ALLOW_FINITE_MATH)
#error \
    "posenc relies on infinities and NaN (masked rows, log-sum-exp): do not compile it with -ffast-math or -ffinite-math-only, or define POSENC_ALLOW_FINITE_MATH and give up the promises for non-finite values."
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define POSENC_DETAIL_ISA avx512
#elif defined(__AVX512F__)
#define POSENC_DETAIL_ISA avx512f
#elif defined(__AVX2__) && defined(__FMA__)
#define POSENC_DETAIL_ISA avx2_fma
#elif defined(__AVX2__)
#define POSENC_DETAIL_ISA avx2
#elif defined(__AVX__)
#define POSENC_DETAIL_ISA avx
#elif defined(__SSE4_2__)
#define POSENC_DETAIL_ISA sse4_2
#elif defined(__x86_64__) || defined(_M_X64)
#define POSENC_DETAIL_ISA x86_64
#elif defined(__aarch64__)
#define POSENC_DETAIL_ISA aarch64
#else
#define POSENC_DETAIL_ISA generic
#endif

#if defined(POSENC_EXECUTOR_OPENMP) && defined(POSENC_EXECUTOR_TBB)
#error \
    "posenc has one default executor per translation unit: define POSENC_EXECUTOR_OPENMP or POSENC_EXECUTOR_TBB, not both (in CMake: link posenc::openmp or posenc::tbb, not both)."
#elif defined(POSENC_EXECUTOR_OPENMP)
#define POSENC_DETAIL_EXECUTOR openmp
#elif defined(POSENC_EXECUTOR_TBB)
#define POSENC_DETAIL_EXECUTOR tbb
#else
#define POSENC_DETAIL_EXECUTOR serial
#endif

// Levels that a build leaves out: POSENC_LEVEL_AVX512=0, POSENC_LEVEL_AVX2=0 (in CMake:
// -D POSENC_LEVELS="scalar;avx2"). Such units have other tables, so they have a name of their own.
#if !defined(POSENC_LEVEL_AVX2)
#define POSENC_LEVEL_AVX2 1
#endif
#if !defined(POSENC_LEVEL_AVX512)
#define POSENC_LEVEL_AVX512 1
#endif
#if !defined(POSENC_LEVEL_NEON)
#define POSENC_LEVEL_NEON 1
#endif
#define POSENC_DETAIL_LEVELS_(a, b, c) levels##a##b##c
#define POSENC_DETAIL_LEVELS__(a, b, c) POSENC_DETAIL_LEVELS_(a, b, c)
#define POSENC_DETAIL_LEVELS \
  POSENC_DETAIL_LEVELS__(POSENC_LEVEL_AVX2, POSENC_LEVEL_AVX512, POSENC_LEVEL_NEON)

// Kernels that are compiled once for a program (the CMake target posenc::kernels, which defines
// POSENC_KERNELS as the baseline that it was compiled for) are declared where they are used and defined
// in its sources. Units of another baseline, executor or set of levels do without it: they define what
// they need themselves, as every unit does where there is no such library.
#if defined(POSENC_KERNELS)
#define POSENC_DETAIL_BASELINE_avx512 9
#define POSENC_DETAIL_BASELINE_avx512f 8
#define POSENC_DETAIL_BASELINE_avx2_fma 7
#define POSENC_DETAIL_BASELINE_avx2 6
#define POSENC_DETAIL_BASELINE_avx 5
#define POSENC_DETAIL_BASELINE_sse4_2 4
#define POSENC_DETAIL_BASELINE_x86_64 3
#define POSENC_DETAIL_BASELINE_aarch64 2
#define POSENC_DETAIL_BASELINE_generic 1
#define POSENC_DETAIL_BASELINE__(isa) POSENC_DETAIL_BASELINE_##isa
#define POSENC_DETAIL_BASELINE_(isa) POSENC_DETAIL_BASELINE__(isa)
#if !defined(POSENC_KERNELS_LEVELS)
#define POSENC_KERNELS_LEVELS 111
#endif
#if POSENC_DETAIL_BASELINE_(POSENC_KERNELS) == POSENC_DETAIL_BASELINE_(POSENC_DETAIL_ISA) && \
    POSENC_KERNELS_LEVELS ==                                                                 \
        POSENC_LEVEL_AVX2 * 100 + POSENC_LEVEL_AVX512 * 10 + POSENC_LEVEL_NEON &&            \
    !defined(POSENC_EXECUTOR_OPENMP) && !defined(POSENC_EXECUTOR_TBB)
#define POSENC_DETAIL_LINKED 1
#if !defined(POSENC_KERNELS_SOURCE)
#define POSENC_DETAIL_FLOAT extern template
#define POSENC_DETAIL_DOUBLE extern template
#define POSENC_DETAIL_BFLOAT16 extern template
#define POSENC_DETAIL_FLOAT16 extern template
#define POSENC_DETAIL_COMPONENTS extern template
#endif
#elif defined(POSENC_KERNELS_SOURCE) && !defined(POSENC_EXECUTOR_OPENMP) && \
    !defined(POSENC_EXECUTOR_TBB)
#error \
    "posenc::kernels is compiled for another baseline or other levels than CMake took it for: set -m flags by CMAKE_CXX_FLAGS or add_compile_options() before posenc is added."
#endif
#endif

// What runs once for a call, or when something is bound or wrong, and no loop waits for. Compilers make it
// small and leave calls in it as they are, which takes them half of the time.
#define POSENC_DETAIL_COLD [[gnu::cold]]

// Functions that are no templates and that no loop waits for stand in headers named *_definitions.hpp, which
// are left out where posenc::kernels has them.
#if !defined(POSENC_DETAIL_LINKED) && !defined(POSENC_DETAIL_DEFINITION)
#define POSENC_DETAIL_DEFINITION POSENC_DETAIL_COLD inline
#endif

#define POSENC_DETAIL_JOIN_(a, b, c, d, e, f) v##a##_##b##_##c##_##d##_##e##_##f
#define POSENC_DETAIL_JOIN(a, b, c, d, e, f) POSENC_DETAIL_JOIN_(a, b, c, d, e, f)
#define POSENC_ABI                                                                     \
  POSENC_DETAIL_JOIN(POSENC_VERSION_MAJOR, POSENC_VERSION_MINOR, POSENC_VERSION_PATCH, \
                     POSENC_DETAIL_ISA, POSENC_DETAIL_EXECUTOR, POSENC_DETAIL_LEVELS)

#define POSENC_NAMESPACE_BEGIN \
  namespace posenc {           \
  inline namespace POSENC_ABI {
#define POSENC_NAMESPACE_END \
  }                          \
  }
