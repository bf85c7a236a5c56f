// SPDX-License-Identifier: MIT
//
// Level: which instruction set the inner loops use, chosen when the program runs.
//
// One binary holds every level that is worth having above the baseline it was compiled for; the
// first call picks the best one that this machine can run. To choose another one:
//
//   POSENC_SIMD=avx2 ./program       scalar, avx2, avx512, avx512_bf16; neon on 64-bit Arm
//   posenc::simd::force(simd::Level::avx2);
//   posenc::simd::ForcedLevel guard(simd::Level::scalar);    until the end of the scope
//
// A level that this machine or this program does not have is an Error, not a fallback: a
// measurement or a test that asked for one must not silently run another.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/simd/machine.hpp>

#include <atomic>
#include <iterator>
#include <optional>
#include <vector>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define POSENC_DETAIL_BASELINE_AVX512 1
#endif

// The levels of the program. A level below one that the baseline guarantees is never chosen and left out.
#if defined(POSENC_DETAIL_X86_64) && POSENC_LEVEL_AVX512
#define POSENC_DETAIL_LEVEL_AVX512 1
#endif
#if defined(POSENC_DETAIL_X86_64) && POSENC_LEVEL_AVX2 && \
    !(defined(POSENC_DETAIL_LEVEL_AVX512) && defined(POSENC_DETAIL_BASELINE_AVX512))
#define POSENC_DETAIL_LEVEL_AVX2 1
#endif
#if defined(POSENC_DETAIL_NEON) && POSENC_LEVEL_NEON
#define POSENC_DETAIL_LEVEL_NEON 1
#endif

/// One choice for the whole program: not in the namespace of a baseline, so that units compiled
/// with different -m flags share it. -1: nothing was forced.
namespace posenc_process {
inline std::atomic<int> forced_level{-1};
}

POSENC_NAMESPACE_BEGIN

namespace simd {

/// From the most portable to the widest.
enum class Level {
  scalar,      ///< plain loops, compiled for the program's baseline
  neon,        ///< 64-bit Arm
  avx2,        ///< AVX2, FMA, F16C: x86-64-v3
  avx512,      ///< AVX-512 F, BW, DQ, VL: x86-64-v4
  avx512_bf16  ///< the same, and bfloat16 rounded in hardware: Zen 4, Cooper Lake and later
};

inline constexpr Level all_levels[] = {Level::scalar, Level::neon, Level::avx2, Level::avx512,
                                       Level::avx512_bf16};

[[nodiscard]] constexpr const char* name(Level level) {
  switch (level) {
    case Level::neon:
      return "neon";
    case Level::avx2:
      return "avx2";
    case Level::avx512:
      return "avx512";
    case Level::avx512_bf16:
      return "avx512_bf16";
    default:
      return "scalar";
  }
}

inline constexpr std::size_t num_levels = std::size(all_levels);

/// Was this level compiled into the program?
[[nodiscard]] constexpr bool in_program(Level level) {
  switch (level) {
#if defined(POSENC_DETAIL_LEVEL_AVX512)
    case Level::avx512:
    case Level::avx512_bf16:
      return true;
#endif
#if defined(POSENC_DETAIL_LEVEL_AVX2)
    case Level::avx2:
      return true;
#endif
#if defined(POSENC_DETAIL_LEVEL_NEON)
    case Level::neon:
      return true;
#endif
    default:
      return level == Level::scalar;
  }
}

[[nodiscard]] bool on_machine(Level level);
[[nodiscard]] inline bool is_available(Level level) {
  return in_program(level) && on_machine(level);
}

/// Levels that this program can run on this machine, from the most portable to the best.
[[nodiscard]] std::vector<Level> available_levels();

namespace detail {
/// Throws Error where the machine or the program lacks the level.
void require(Level level, const char* who);
/// POSENC_SIMD, or the best level there is.
[[nodiscard]] Level choose();
}  // namespace detail

/// The level that runs: the forced one, else POSENC_SIMD (read at the first call), else the best.
/// Throws Error when that level does not exist here.
[[nodiscard]] inline Level level() {
  const int forced = posenc_process::forced_level.load(std::memory_order_relaxed);
  if (forced >= 0) {
    const auto level = static_cast<Level>(forced);
    if (!in_program(level)) detail::require(level, "posenc::simd::level");
    return level;
  }
  static const Level chosen = detail::choose();
  return chosen;
}

/// Makes every later call of the program run at this level; std::nullopt: as it was.
/// Throws Error when the machine or the program lacks it.
inline void force(std::optional<Level> level) {
  if (level) detail::require(*level, "posenc::simd::force");
  posenc_process::forced_level.store(level ? static_cast<int>(*level) : -1,
                                     std::memory_order_relaxed);
}

/// Forces a level until the end of a scope, for the whole program.
class ForcedLevel {
 public:
  explicit ForcedLevel(Level level)
      : before_(posenc_process::forced_level.load(std::memory_order_relaxed)) {
    force(level);
  }
  ~ForcedLevel() { posenc_process::forced_level.store(before_, std::memory_order_relaxed); }
  ForcedLevel(const ForcedLevel&) = delete;
  ForcedLevel& operator=(const ForcedLevel&) = delete;

 private:
  int before_;
};

}  // namespace simd

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/simd/level_definitions.hpp>
#endif
