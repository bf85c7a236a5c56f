// SPDX-License-Identifier: MIT
//
// resolve: all components of an encoding are checked, and its frequencies become one table.
#pragma once

#include <posenc/bind/describe.hpp>
#include <posenc/core/positions.hpp>
#include <posenc/rotary/rotary.hpp>

#include <optional>
#include <span>

POSENC_NAMESPACE_BEGIN

struct BindOptions {
  Index num_heads = 1;     ///< query heads
  Index num_kv_heads = 0;  ///< key and value heads, a divisor of num_heads; 0 means num_heads
  Index head_dim = 0;      ///< width of queries and keys; 0: as the rotary base says, or any
  std::optional<double> scale{};  ///< softmax scale; by default the encoding's, or 1/sqrt(head_dim)
  Angles angles = Angles::exact;  ///< whose arithmetic makes the angles
  Position length = 0;  ///< current length, for schemes that depend on it; 0: the trained one
};

namespace detail {

/// What all components together resolve to.
struct Resolved {
  HeadShape shape;
  Rotary rotary;
  Described score_scale{};  ///< who says it, if anyone
};

/// Checks every component. Throws Error with every problem.
[[nodiscard]] Resolved resolve(Problems& problems, std::span<const Described> components,
                               const BindOptions& options);

/// Frequencies, attention factor and channels of an encoding of so many key heads at a length, without angles.
[[nodiscard]] Rotary resolve_frequencies(Problems& problems, std::span<const Described> components,
                                         Index kv_heads, Position length);

/// Tables of all angles that attention asks for; `map` is null without a distance map.
void tabulate_angles(Rotary& rotary, Angles mode, const void* map, const MapQuestions* ask);

}  // namespace detail

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/bind/resolve_definitions.hpp>
#endif
