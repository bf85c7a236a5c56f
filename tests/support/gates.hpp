// SPDX-License-Identifier: MIT
//
// Logs of forget gates for tests, [tokens][heads], and their sums.
#pragma once

#include "random.hpp"

#include <posenc/bias/gate_sums.hpp>

#include <vector>

namespace posenc_test {

/// Gates of heads that forget more and more; one in `sudden` tokens forgets nearly all.
inline std::vector<double> log_gates(posenc::Index tokens, posenc::Index heads, unsigned seed,
                                     int sudden = 40) {
  Random random(seed);
  std::vector<double> gates;
  for (posenc::Index t = 0; t < tokens; ++t)
    for (posenc::Index h = 0; h < heads; ++h)
      gates.push_back(random.integer(1, sudden) == 1
                          ? -6.0
                          : -0.2 * random.real(0, 1) * static_cast<double>(h + 1));
  return gates;
}

inline posenc::GateSums sums_of(const std::vector<double>& gates, posenc::Index heads) {
  posenc::GateSums sums(heads, std::ssize(gates) / heads);
  sums.append(0, std::span<const double>(gates));
  return sums;
}

}  // namespace posenc_test
