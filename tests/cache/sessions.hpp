// SPDX-License-Identifier: MIT
//
// Seeded sessions of every kind of cache; see model.hpp.
#pragma once

#include "../support/catch.hpp"
#include "model.hpp"

namespace cache_test {

/// 250 calls in a row to a few caches of every kind.
template <KeyState State, class T>
void run_sessions(const AnyBound& a, const AnyBound& b, Setting setting) {
  for (const Kind kind :
       {Kind::contiguous, Kind::ring, Kind::ring_with_sinks, Kind::streaming, Kind::paged}) {
    if (kind == Kind::streaming && (State != KeyState::raw || setting.axes > 1)) continue;
    setting.kind = kind;
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      INFO("kind " << static_cast<int>(kind) << ", seed " << seed);
      SeededChoices choices(seed * 1000 + static_cast<std::uint64_t>(kind));
      Session<State, T> session(choices, setting, a, b);
      for (int call = 0; call < 250; ++call) {
        session.step();
        if (call % 5 == 4) session.decode();
      }
      CHECK(session.accepted() >= 100);
      CHECK(session.refused() >= 10);
    }
  }
}

}  // namespace cache_test
