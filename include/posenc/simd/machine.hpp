// SPDX-License-Identifier: MIT
//
// Machine: what the processor offers and the operating system keeps across a context switch.
//
// cpuid says what instructions exist, xgetbv which registers the system saves; both must agree
// before any of them may be used. The compilers' own __builtin_cpu_supports is not enough: Clang 14
// knows neither F16C nor AMX by name.
#pragma once

#include <posenc/core/abi.hpp>

#if defined(__x86_64__) && defined(__GNUC__)
#define POSENC_DETAIL_X86_64 1
#endif
#if defined(__aarch64__) && defined(__GNUC__)
#define POSENC_DETAIL_NEON 1
#endif

POSENC_NAMESPACE_BEGIN

namespace simd {

struct Machine {
  bool avx2 = false;         ///< with FMA and F16C
  bool avx512 = false;       ///< F, BW, DQ and VL
  bool avx512_bf16 = false;  ///< conversion to bfloat16 in hardware
  bool amx_bf16 = false;     ///< tile products; see amx_permitted()
};

namespace detail {
[[nodiscard]] Machine detect();
}

/// What this machine offers; detected once.
[[nodiscard]] inline const Machine& machine() {
  static const Machine detected = detail::detect();
  return detected;
}

/// May this process use AMX tiles? Linux wants to be asked before the first tile instruction, because
/// every thread's saved state grows by 8 KiB from then on; it is asked once. False where the machine
/// has none.
[[nodiscard]] bool amx_permitted();

}  // namespace simd

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/simd/machine_definitions.hpp>
#endif
