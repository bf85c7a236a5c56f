// SPDX-License-Identifier: MIT
//
// Which levels there are here, and the one that POSENC_SIMD asks for; see level.hpp.
#pragma once

#include <posenc/simd/level.hpp>

#include <cstdlib>
#include <string>
#include <string_view>

POSENC_NAMESPACE_BEGIN

namespace simd {

POSENC_DETAIL_DEFINITION bool on_machine(Level level) {
  switch (level) {
    case Level::avx2:
      return machine().avx2;
    case Level::avx512:
      return machine().avx512;
    case Level::avx512_bf16:
      return machine().avx512_bf16;
    case Level::neon:
#if defined(POSENC_DETAIL_NEON)
      return true;
#else
      return false;
#endif
    default:
      return true;
  }
}

POSENC_DETAIL_DEFINITION std::vector<Level> available_levels() {
  std::vector<Level> levels;
  for (const Level level : all_levels)
    if (is_available(level)) levels.push_back(level);
  return levels;
}

namespace detail {

POSENC_DETAIL_DEFINITION void require(Level level, const char* who) {
  if (is_available(level)) return;
  Problems problems;
  std::string have;
  for (const Level other : all_levels)
    if (is_available(other)) (have += have.empty() ? "" : ", ") += name(other);
  if (!on_machine(level))
    problems.add("this machine has no level ", name(level), "; it has ", have, ".");
  else
    problems.add("this program has no level ", name(level),
                 ", because it was compiled for a baseline above or beside it, or without it "
                 "(POSENC_LEVELS); it has ",
                 have, ".");
  problems.raise_if_any(who);
}

POSENC_DETAIL_DEFINITION Level choose() {
  const char* wish = std::getenv("POSENC_SIMD");
  if (!wish || !*wish) {
    Level best = Level::scalar;
    for (const Level level : all_levels)
      if (is_available(level)) best = level;
    return best;
  }
  for (const Level level : all_levels)
    if (std::string_view(wish) == name(level)) {
      require(level, "POSENC_SIMD");
      return level;
    }
  Problems problems;
  problems.add("the level must be one of scalar, neon, avx2, avx512, avx512_bf16, got \"", wish,
               "\".");
  problems.raise_if_any("POSENC_SIMD");
  return Level::scalar;
}

}  // namespace detail

}  // namespace simd

POSENC_NAMESPACE_END
