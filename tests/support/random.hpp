// SPDX-License-Identifier: MIT
//
// Seeded random numbers.
#pragma once

#include <posenc/core/types.hpp>
#include <posenc/schedule/random.hpp>

#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <random>
#include <type_traits>
#include <vector>

namespace posenc_test {

using posenc::Index;
using posenc::Position;

/// From the library's generator: the same numbers with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : source_(seed) {}

  std::uint64_t bits() { return source_.bits(); }
  /// A multiple of 2^-20 times (high - low) within [low, high).
  double real(double low, double high) {
    return low + (high - low) * static_cast<double>(bits() >> 44) * 0x1p-20;
  }
  /// Both ends included.
  Position integer(Position low, Position high) {
    return low + static_cast<Position>(bits() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(double probability) { return real(0, 1) < probability; }

  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[integer(0, std::ssize(values) - 1)];
  }

 private:
  posenc::SeededRandom source_;
};

// --- From the standard library's distributions, which differ between standard libraries ------------

/// Within [low, high], both ends included.
inline Position integer(std::mt19937& random, Position low, Position high) {
  return std::uniform_int_distribution<Position>(low, high)(random);
}

/// The next n numbers within [low, high), drawn as numbers of Drawn.
template <class T, class Drawn = double>
std::vector<T> noise(Index n, std::mt19937& random, std::type_identity_t<Drawn> low = -1,
                     std::type_identity_t<Drawn> high = 1) {
  std::uniform_real_distribution<Drawn> draw(low, high);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& value : values) value = static_cast<T>(draw(random));
  return values;
}

/// n numbers within [low, high), the same ones for the same seed.
template <class T, class Drawn = double>
std::vector<T> noise(Index n, unsigned seed, std::type_identity_t<Drawn> low = -1,
                     std::type_identity_t<Drawn> high = 1) {
  std::mt19937 random(seed);
  return noise<T, Drawn>(n, random, low, high);
}

}  // namespace posenc_test
