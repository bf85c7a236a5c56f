// SPDX-License-Identifier: MIT
#include "random.hpp"

namespace posenc_test {

std::uint64_t Random::bits() { return source_.bits(); }

double Random::real(double low, double high) {
  return low + (high - low) * static_cast<double>(bits() >> 44) * 0x1p-20;
}

Position Random::integer(Position low, Position high) {
  return low + static_cast<Position>(bits() % static_cast<std::uint64_t>(high - low + 1));
}

}  // namespace posenc_test
