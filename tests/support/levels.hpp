// SPDX-License-Identifier: MIT
#pragma once

#include "catch.hpp"

#include <posenc/simd/level.hpp>

#include <cstdlib>
#include <string_view>

namespace posenc_test {

/// Runs f once at every SIMD level of this machine. Where the program runs at one level by force, it also runs at the
/// others (see CMakeLists.txt), so there at that level alone; that of AVX-512 takes the one for bfloat16 with it. So does
/// every run take the level of POSENC_TEST_ALSO_AT, whose own run is left out.
template <class F>
void at_every_level(const F& f) {
  const char* const own = std::getenv("POSENC_SIMD");
  const char* const also = std::getenv("POSENC_TEST_ALSO_AT");
  for (const posenc::simd::Level level : posenc::simd::available_levels()) {
    const std::string_view name = posenc::simd::name(level);
    if (own && !name.starts_with(own) && !(also && name == also)) continue;
    const posenc::simd::ForcedLevel forced(level);
    INFO("level " << name);
    f();
  }
}

}  // namespace posenc_test
