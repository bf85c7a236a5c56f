// SPDX-License-Identifier: MIT
//
// Modes: discretised state spaces of all channels, as the leaves read them.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <concepts>
#include <limits>
#include <string_view>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

struct Modes {
  Index channels = 0;
  Index pairs =
      0;  ///< of the state of a channel: numbers of which each stands for itself and its conjugate
  bool low_rank = false;  ///< diagonal plus a matrix of rank one
  /// Rows of 16 neighbouring channels: of each group what simd's leaves `diagonal` or `low_rank` read.
  std::vector<double> numbers{};
  std::vector<double> skip{};  ///< D [channels]
  /// After so many tokens what a state was is below 2^-64 of itself.
  Index reach = std::numeric_limits<Index>::max();

  [[nodiscard]] Index rows() const { return low_rank ? 10 * pairs + 1 : 4 * pairs; }
  /// Of `numbers`, those of a row of a channel.
  [[nodiscard]] double& at(Index channel, Index row) {
    return numbers[static_cast<std::size_t>(((channel / 16) * rows() + row) * 16 + channel % 16)];
  }
};

/// A type that says what a state space is.
template <class M>
concept StateSpaceRule = requires(const M& of, Problems& problems) {
  { M::name } -> std::convertible_to<std::string_view>;
  of.check(problems);
  { of.modes() } -> std::same_as<Modes>;
};

}  // namespace mixers

POSENC_NAMESPACE_END
