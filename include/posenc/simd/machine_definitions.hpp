// SPDX-License-Identifier: MIT
//
// How a processor and its operating system are asked; see machine.hpp.
#pragma once

#include <posenc/simd/machine.hpp>

#if defined(POSENC_DETAIL_X86_64)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

POSENC_NAMESPACE_BEGIN

namespace simd {

namespace detail {

POSENC_DETAIL_DEFINITION Machine detect() {
  Machine machine;
#if defined(POSENC_DETAIL_X86_64)
  struct Registers {
    unsigned a = 0, b = 0, c = 0, d = 0;
  };
  const auto cpuid = [](unsigned leaf, unsigned subleaf) {
    Registers r;
    __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
    return r;
  };
  const auto has = [](unsigned bits, int bit) { return (bits >> bit & 1U) != 0; };
  const Registers basic = cpuid(1, 0), extended = cpuid(7, 0), more = cpuid(7, 1);
  if (!has(basic.c, 27)) return machine;  // OSXSAVE: may we ask what the system saves?
  unsigned saved = 0, saved_high = 0;
  __asm__("xgetbv" : "=a"(saved), "=d"(saved_high) : "c"(0));
  const auto saves = [&](unsigned states) { return (saved & states) == states; };
  const bool ymm = saves(0x6), zmm = saves(0xe6), tiles = saves(0x60000);
  machine.avx2 = ymm && has(basic.c, 12) && has(basic.c, 28) && has(basic.c, 29) &&
                 has(extended.b, 5);  // FMA, AVX, F16C; AVX2
  machine.avx512 = machine.avx2 && zmm && has(extended.b, 16) && has(extended.b, 17) &&
                   has(extended.b, 30) && has(extended.b, 31);  // F, DQ, BW, VL
  machine.avx512_bf16 = machine.avx512 && has(more.a, 5);
  machine.amx_bf16 = tiles && has(extended.d, 22) && has(extended.d, 24);  // BF16, TILE
#endif
  return machine;
}

}  // namespace detail

POSENC_DETAIL_DEFINITION bool amx_permitted() {
#if defined(POSENC_DETAIL_X86_64) && defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM
  static const bool permitted =
      machine().amx_bf16 && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return permitted;
#else
  return false;
#endif
}

}  // namespace simd

POSENC_NAMESPACE_END
