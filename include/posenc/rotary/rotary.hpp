// SPDX-License-Identifier: MIT
//
// Rotary: a rotary base and all of its frequency transforms, resolved: which channels rotate, by
// which angles, with which amplitude. Made by bind(); read by rotate() and by attention.
#pragma once

#include <posenc/core/layout.hpp>
#include <posenc/rotary/angles.hpp>

POSENC_NAMESPACE_BEGIN

/// Where the rotary pairs of a head lie.
struct RotaryBlock {
  Index offset = 0;  ///< first rotated channel
  Index pairs = 0;
};

template <class LayoutT>
struct Rotary {
  using layout = LayoutT;

  RotaryState state;
  Index offset = 0;  ///< first rotated channel
  AngleTable angles;

  [[nodiscard]] Index pairs() const { return state.pairs(); }
  [[nodiscard]] RotaryBlock block() const { return {offset, pairs()}; }
};

POSENC_NAMESPACE_END
