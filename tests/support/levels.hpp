// SPDX-License-Identifier: MIT
#pragma once

#include "catch.hpp"

#include <posenc/simd/level.hpp>

namespace posenc_test {

/// Runs f once at every SIMD level of this machine.
template <class F>
void at_every_level(const F& f) {
  for (const posenc::simd::Level level : posenc::simd::available_levels()) {
    const posenc::simd::ForcedLevel forced(level);
    INFO("level " << posenc::simd::name(level));
    f();
  }
}

}  // namespace posenc_test
