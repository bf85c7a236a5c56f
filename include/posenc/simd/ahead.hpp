// SPDX-License-Identifier: MIT
//
// What the leaves of decoding are told besides their operands.
#pragma once

#include <posenc/core/types.hpp>

POSENC_NAMESPACE_BEGIN
namespace simd {

/// Rows of memory that will be read next, to be asked for while other work is done: a processor
/// does not look ahead from the keys of a block to its values.
struct Ahead {
  const char* first = nullptr;
  Index row_bytes = 0;  ///< 0: nothing to ask for
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
