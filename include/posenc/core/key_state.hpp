// SPDX-License-Identifier: MIT
//
// KeyState: in what state a cache keeps its keys.
//
//   raw       as they leave their projection; rotated while they are read. Right for every encoding,
//             and the only state for schemes whose frequencies follow the length (DynamicNTK,
//             Dynamic<YaRN>, LongRoPE) and for distance maps that see one key at two angles (ReRoPE)
//   rotated   rotated at their own positions, without the attention factor: nothing is left to do
//             when they are read
//   reduced   rotated at the position that a distance map gives to keys, where it gives only one
//             (DualChunk: the place within the chunk)
#pragma once

#include <posenc/core/abi.hpp>

POSENC_NAMESPACE_BEGIN

enum class KeyState { raw, rotated, reduced };

POSENC_NAMESPACE_END
