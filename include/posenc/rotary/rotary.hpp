// SPDX-License-Identifier: MIT
//
// Rotary: a rotary base and all of its frequency transforms, resolved: which channels rotate, by
// which angles, with which amplitude. Made by bind(); read by rotate() and by attention.
#pragma once

#include <posenc/core/layout.hpp>
#include <posenc/rotary/angles.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

/// Where the rotary pairs of a head lie.
struct RotaryBlock {
  Index offset = 0;  ///< first rotated channel
  Index pairs = 0;
};

struct Rotary {
  RotaryState state{};
  Index offset = 0;                    ///< first rotated channel
  const LayoutRule* layout = nullptr;  ///< &layout_rule<...>
  AngleTable angles{};

  /// Angles in units of the steps of a distance map, where they are not one, and which of these tables
  /// a region of the map reads; -1: `angles`.
  std::vector<AngleTable> scaled_angles{};
  std::vector<int> table_of_region{};

  /// The rotation of each key head, where they turn at rates of their own; otherwise empty.
  std::vector<Rotary> heads{};

  /// The rotation of a key head and of the query heads that meet it.
  [[nodiscard]] const Rotary& of(Index kv_head) const {
    return heads.empty() ? *this : heads[static_cast<std::size_t>(kv_head)];
  }
  /// Key heads that turn at rates of their own; 1 where all turn alike.
  [[nodiscard]] Index rates() const { return heads.empty() ? 1 : static_cast<Index>(heads.size()); }
  [[nodiscard]] Index pairs() const { return state.pairs(); }
  [[nodiscard]] RotaryBlock block() const { return {offset, pairs()}; }
  [[nodiscard]] const AngleTable& region_angles(int region) const {
    const auto r = static_cast<std::size_t>(region);
    const int table = r < table_of_region.size() ? table_of_region[r] : -1;
    return table < 0 ? angles : scaled_angles[static_cast<std::size_t>(table)];
  }
};

POSENC_NAMESPACE_END
