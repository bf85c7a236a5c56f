// SPDX-License-Identifier: MIT
//
// The numbers of a golden case, drawn as its script draws them.
#pragma once

#include <posenc/core/types.hpp>
#include <posenc/schedule/random.hpp>

#include <cstdint>
#include <vector>

namespace posenc_test {

using posenc::Index;

/// Multiples of 2^-19 within [-1, 1), changed by factor x + offset, which is exact.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  std::vector<float> operator()(Index n, double factor = 1, double offset = 0) {
    std::vector<float> all;
    for (Index i = 0; i < n; ++i)
      all.push_back(static_cast<float>(
          factor * (static_cast<double>(random_.bits() >> 44) * 0x1p-19 - 1) + offset));
    return all;
  }

 private:
  posenc::SeededRandom random_;
};

}  // namespace posenc_test
