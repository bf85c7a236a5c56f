// SPDX-License-Identifier: MIT
#pragma once

#include "catch.hpp"

#include <posenc/simd/level.hpp>

#include <cstdlib>
#include <string_view>

namespace posenc_test {

/// Runs f once at every SIMD level of this machine. Where the program runs at one level by force, it also runs at the
/// others (see CMakeLists.txt), so there at that level alone; that of AVX-512 takes the one for bfloat16 with it.
template <class F>
void at_every_level(const F& f) {
  const char* const forced_level = std::getenv("POSENC_SIMD");
  for (const posenc::simd::Level level : posenc::simd::available_levels()) {
    if (forced_level && !std::string_view(posenc::simd::name(level)).starts_with(forced_level))
      continue;
    const posenc::simd::ForcedLevel forced(level);
    INFO("level " << posenc::simd::name(level));
    f();
  }
}

}  // namespace posenc_test
