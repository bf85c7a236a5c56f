// SPDX-License-Identifier: MIT
//
// Positions: where the tokens of a tensor stand, either an offset (token t is at offset + t) or ids
// of its tokens. Ids are borrowed, not copied: whoever has them must keep them as long as they are read.
// A container that is a temporary would be gone by then, so the compiler refuses it:
//
//   attention(q, k, v, out, bound, {.key_positions = ids});                                 a name of yours
//   attention(q, k, v, out, bound, {.key_positions = Positions::borrowed(ids_of(text))});   lives as long
//                                                                                           as the call
//
// A position may have several coordinates: time, height and width of M-RoPE, row and column of an
// image. Then ids are [axes][tokens], as Hugging Face's position_ids [3, tokens]; an offset, or ids
// of one axis, stand for tokens whose coordinates are all equal, as those of text are.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>  // and the concepts of ranges, without the views of <ranges>

// Clang warns where what a parameter points to is kept longer than the argument lives.
#if defined(__clang__)
#define POSENC_DETAIL_LIFETIMEBOUND [[clang::lifetimebound]]
#else
#define POSENC_DETAIL_LIFETIMEBOUND
#endif

POSENC_NAMESPACE_BEGIN

/// Positions beyond this magnitude are refused: up to here every integer is exact in double, and
/// sums and differences of two positions cannot overflow.
inline constexpr Position greatest_position = Position{1} << 52;

namespace detail {

/// Integers (Position) or real numbers (double).
template <class Ids>
concept PositionValues = std::same_as<std::ranges::range_value_t<Ids>, Position> ||
                         std::same_as<std::ranges::range_value_t<Ids>, double>;

/// The same, side by side.
template <class Ids>
concept PositionIds =
    std::ranges::contiguous_range<Ids> && std::ranges::sized_range<Ids> && PositionValues<Ids>;

}  // namespace detail

class Positions {
 public:
  static constexpr int most_axes = 4;

  /// Token t stands at offset + t.
  constexpr Positions(Position offset = 0) : offset_(offset) {}

  /// Token t stands at ids[t]; ids may be integers (Position) or real numbers (double). With
  /// several axes, coordinate a of token t is ids[a * tokens + t].
  template <detail::PositionIds Ids>
  constexpr Positions(const Ids& ids, int axes = 1)
      : axes_(axes), count_(static_cast<Index>(std::ranges::size(ids))),
        axis_stride_(axes > 1 ? count_ / axes : 0) {
    if constexpr (std::same_as<std::ranges::range_value_t<Ids>, double>) {
      kind_ = Kind::real;
      real_ids_ = std::ranges::data(ids);
    } else {
      kind_ = Kind::integer;
      ids_ = std::ranges::data(ids);
    }
  }

  /// A container that is destroyed before its ids are read.
  template <detail::PositionIds Ids>
    requires(!std::ranges::borrowed_range<Ids>)
  constexpr Positions(const Ids&&, int = 1) {
    static_assert(
        !detail::PositionIds<Ids>,
        "posenc: Positions borrow their ids, but this container is a temporary that is "
        "about to be destroyed. Give it a name that lives longer, or pass "
        "Positions::borrowed(...) within the call that reads them. Of a view type of your "
        "own that owns nothing say std::ranges::enable_borrowed_range.");
  }
  /// Of a container that may be a temporary: only for the call in whose expression this stands.
  template <detail::PositionIds Ids>
  [[nodiscard]] static constexpr Positions borrowed(const Ids& ids POSENC_DETAIL_LIFETIMEBOUND,
                                                    int axes = 1) {
    return Positions(ids, axes);
  }
  /// Any other range is told what to write.
  template <std::ranges::range Ids>
    requires(!detail::PositionIds<Ids>)
  constexpr Positions(const Ids&, int = 1) {
    static_assert(!detail::PositionValues<Ids>,
                  "posenc: the standard library cannot tell that these position ids lie side by "
                  "side. Where they do, as in an Eigen vector, write std::span(ids.data(), "
                  "ids.size()); otherwise copy them to a std::vector.");
    static_assert(
        detail::PositionValues<Ids>,
        "posenc: position ids are posenc::Position (std::int64_t) or double: write "
        "std::vector<posenc::Position> ids(old.begin(), old.end()), and keep it as long as "
        "the call reads it.");
  }

  [[nodiscard]] constexpr bool is_offset() const { return kind_ == Kind::offset; }
  [[nodiscard]] constexpr bool is_real() const { return kind_ == Kind::real; }

  /// Coordinates per token; 1: all the same.
  [[nodiscard]] constexpr int axes() const { return axes_; }

  /// Integer position of a token, its first coordinate; not for real ids.
  [[nodiscard]] constexpr Position operator[](Index token) const {
    return is_offset() ? offset_ + token : ids_[token];
  }
  /// Real position of a token, its first coordinate; only for real ids.
  [[nodiscard]] constexpr double real(Index token) const { return real_ids_[token]; }

  /// Integer coordinate of a token; not for real ids.
  [[nodiscard]] constexpr Position at(int axis, Index token) const {
    return is_offset() ? offset_ + token : ids_[axis * axis_stride_ + token];
  }
  /// Real coordinate of a token; only for real ids.
  [[nodiscard]] constexpr double real(int axis, Index token) const {
    return real_ids_[axis * axis_stride_ + token];
  }

  /// Positions of some of the tokens, by the names that std::span has for it.
  [[nodiscard]] constexpr Positions subspan(std::size_t from, std::size_t tokens) const {
    const auto skipped = static_cast<Index>(from);
    Positions some = *this;
    some.offset_ += is_offset() ? skipped : 0;
    some.ids_ += kind_ == Kind::integer ? skipped : 0;
    some.real_ids_ += is_real() ? skipped : 0;
    some.count_ = is_offset() ? 0 : static_cast<Index>(tokens) * axes_;
    return some;
  }
  [[nodiscard]] constexpr Positions first(std::size_t tokens) const { return subspan(0, tokens); }

  /// Reports a wrong number of ids and positions out of range.
  POSENC_DETAIL_COLD void check(Problems& problems, const char* what, Index tokens) const {
    if (is_offset()) {
      problems.require(
          is_position(offset_) && (tokens == 0 || offset_ <= greatest_position - tokens), what,
          ": positions must lie within +-2^52, got ", tokens, " tokens from ", offset_, ".");
      return;
    }
    if (axes_ < 1 || axes_ > most_axes)
      return problems.add(what, ": positions have 1 to ", most_axes, " coordinates, got ", axes_,
                          ".");
    if (count_ % axes_ != 0 || count_ / axes_ != tokens) {
      if (axes_ == 1)
        problems.add(what, ": got ", count_, " position ids for ", tokens, " tokens.");
      else
        problems.add(what, ": got ", count_, " position ids for ", tokens, " tokens of ", axes_,
                     " coordinates each.");
    }
    const auto report = [&](auto p) {
      problems.add(what, ": positions must lie within +-2^52, got ", p, ".");
    };
    for (int axis = 0; axis < axes_; ++axis)
      for (Index t = 0; t < count_ / axes_; ++t) {
        if (is_real() && !is_position(real(axis, t))) return report(real(axis, t));
        if (!is_real() && !is_position(at(axis, t))) return report(at(axis, t));
      }
  }

  /// One more than the greatest coordinate of `tokens` tokens: the length of a context that ends
  /// here. 0 for no tokens; a real position counts by its floor. What check() reports is left out.
  [[nodiscard]] Position length(Index tokens) const {
    if (tokens == 0) return 0;
    if (is_offset())
      return is_position(offset_) && tokens <= greatest_position ? offset_ + tokens : 0;
    Position greatest = -greatest_position;
    for (int axis = 0; axis < axes_; ++axis)
      for (Index t = 0; t < count_ / axes_; ++t) {
        if (is_real() && is_position(real(axis, t)))
          greatest = std::max(greatest, static_cast<Position>(std::floor(real(axis, t))));
        if (!is_real() && is_position(at(axis, t))) greatest = std::max(greatest, at(axis, t));
      }
    return greatest + 1;
  }

 private:
  enum class Kind { offset, integer, real };

  /// NaN compares false and is none.
  template <class P>
  static constexpr bool is_position(P p) {
    return p >= static_cast<P>(-greatest_position) && p <= static_cast<P>(greatest_position);
  }

  Kind kind_ = Kind::offset;
  int axes_ = 1;
  Position offset_ = 0;
  const Position* ids_ = nullptr;
  const double* real_ids_ = nullptr;
  Index count_ = 0;        ///< ids of all axes
  Index axis_stride_ = 0;  ///< 0: all axes read the same ids
};

POSENC_NAMESPACE_END
