// SPDX-License-Identifier: MIT
//
// What the leaves of decoding are told besides their operands.
#pragma once

#include <posenc/core/types.hpp>

POSENC_NAMESPACE_BEGIN
namespace simd {

/// The rows that will be read after these: memory is prefetched in the order in which it is read, across
/// the ends of rows, since a processor does not prefetch from the keys of a block to its values.
struct ReadNext {
  const void* rows = nullptr;  ///< null: nothing worth a prefetch
};

/// Cosines and sines of some keys, `row` apart, and the channels that they rotate. There is memory for
/// a multiple of 16 keys.
template <class U>
struct KeyAngles {
  const U* cos = nullptr;
  const U* sin = nullptr;
  Index row = 0;
  Index offset = 0;  ///< first channel of the rotary block
  Index pairs = 0;
};

}  // namespace simd
POSENC_NAMESPACE_END
