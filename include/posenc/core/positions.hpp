// SPDX-License-Identifier: MIT
//
// Positions: where the tokens of a tensor stand, either an offset (token t is at offset + t) or one
// id per token. Ids are borrowed, not copied.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <algorithm>
#include <cmath>
#include <ranges>
#include <span>

POSENC_NAMESPACE_BEGIN

/// Positions beyond this magnitude are refused: up to here every integer is exact in double, and
/// sums and differences of two positions cannot overflow.
inline constexpr Position greatest_position = Position{1} << 52;

class Positions {
 public:
  /// Token t stands at offset + t.
  constexpr Positions(Position offset = 0) : offset_(offset) {}

  /// Token t stands at ids[t]; ids may be integers (Position) or real numbers (double).
  template <std::ranges::contiguous_range Ids>
    requires std::ranges::sized_range<Ids> &&
             (std::same_as<std::ranges::range_value_t<Ids>, Position> ||
              std::same_as<std::ranges::range_value_t<Ids>, double>)
  constexpr Positions(const Ids& ids) {
    if constexpr (std::same_as<std::ranges::range_value_t<Ids>, double>) {
      kind_ = Kind::real;
      real_ids_ = std::span<const double>(std::ranges::data(ids), std::ranges::size(ids));
    } else {
      kind_ = Kind::integer;
      ids_ = std::span<const Position>(std::ranges::data(ids), std::ranges::size(ids));
    }
  }

  [[nodiscard]] constexpr bool is_offset() const { return kind_ == Kind::offset; }
  [[nodiscard]] constexpr bool is_real() const { return kind_ == Kind::real; }

  /// Integer position of a token; not for real ids.
  [[nodiscard]] constexpr Position operator[](Index token) const {
    return is_offset() ? offset_ + token : ids_[static_cast<std::size_t>(token)];
  }
  /// Real position of a token; only for real ids.
  [[nodiscard]] constexpr double real(Index token) const {
    return real_ids_[static_cast<std::size_t>(token)];
  }

  /// Reports a wrong number of ids and positions out of range.
  void check(Problems& problems, const char* what, Index tokens) const {
    const auto in_range = [](auto p) {
      return p >= static_cast<decltype(p)>(-greatest_position) &&
             p <= static_cast<decltype(p)>(greatest_position);
    };
    if (is_offset()) {
      problems.require(in_range(offset_) && (tokens == 0 || offset_ <= greatest_position - tokens),
                       what, ": positions must lie within +-2^52, got ", tokens, " tokens from ",
                       offset_, ".");
      return;
    }
    const std::size_t count = is_real() ? real_ids_.size() : ids_.size();
    problems.require(static_cast<Index>(count) == tokens, what, ": got ", count,
                     " position ids for ", tokens, " tokens.");
    // NaN compares false and is reported too.
    for (const double p : real_ids_)
      if (!in_range(p))
        return problems.add(what, ": positions must lie within +-2^52, got ", p, ".");
    for (const Position p : ids_)
      if (!in_range(p))
        return problems.add(what, ": positions must lie within +-2^52, got ", p, ".");
  }

  /// One more than the greatest position of `tokens` tokens: the length of a context that ends
  /// here. 0 for no tokens; a real position counts by its floor.
  [[nodiscard]] Position length(Index tokens) const {
    if (tokens == 0) return 0;
    if (is_offset()) return offset_ + tokens;
    if (is_real())
      return static_cast<Position>(std::floor(*std::ranges::max_element(real_ids_))) + 1;
    return *std::ranges::max_element(ids_) + 1;
  }

 private:
  enum class Kind { offset, integer, real };

  Kind kind_ = Kind::offset;
  Position offset_ = 0;
  std::span<const Position> ids_;
  std::span<const double> real_ids_;
};

POSENC_NAMESPACE_END
