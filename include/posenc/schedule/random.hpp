// SPDX-License-Identifier: MIT
//
// Random numbers of schedules: seeded, and the same ones with every standard library, whose own
// distributions differ.
#pragma once

#include <posenc/core/types.hpp>

#include <cmath>
#include <cstdint>

POSENC_NAMESPACE_BEGIN

/// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014). Its state
/// is the one number that it is made of, so that a run is resumed from `state()`.
class SeededRandom {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }
  /// Uniform in [low, high], by steps of (high - low) / 2^53; `high` itself by rounding alone.
  double real(double low, double high) {
    // In one rounding, which no compiler splits.
    return std::fma(high - low, static_cast<double>(bits() >> 11) * 0x1p-53, low);
  }
  /// Uniform in [low, high], both ends included.
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    const std::uint64_t count =
        static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low) + 1;
    if (count == 0) return static_cast<std::int64_t>(bits());
    // The 2^64 mod count first numbers would make some results likelier.
    const std::uint64_t surplus = (0 - count) % count;
    std::uint64_t drawn = bits();
    while (drawn < surplus) drawn = bits();
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + drawn % count);
  }

  [[nodiscard]] std::uint64_t state() const { return state_; }

 private:
  std::uint64_t state_;
};

POSENC_NAMESPACE_END
