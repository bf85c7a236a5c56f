// SPDX-License-Identifier: MIT
//
// What the leaves of decoding are told besides their operands.
#pragma once

#include <posenc/core/types.hpp>

POSENC_NAMESPACE_BEGIN
namespace simd {

/// What is read after some rows. Memory is asked for in the order in which it is read, some way ahead
/// of that and across the ends of rows: a processor does not look from the keys of a block to its
/// values.
struct Ahead {
  const void* next = nullptr;  ///< null: nothing worth asking for
};

/// Cosines and sines of some keys, `row` apart, and the channels that they turn. There is memory
/// for a multiple of 16 keys.
template <class U>
struct KeyTurn {
  const U* cos = nullptr;
  const U* sin = nullptr;
  Index row = 0;
  Index offset = 0;  ///< first channel of the rotary block
  Index pairs = 0;
};

}  // namespace simd
POSENC_NAMESPACE_END
