// SPDX-License-Identifier: MIT
//
// TokenAngles: cosines and sines for one token after another, each computed once for all heads.
//
// It remembers what neighbouring tokens share: the product of all digits of the position but the
// last (32 tokens in a row), and, where a position has several axes (M-RoPE), the axes whose
// coordinate did not change. xPos's magnitudes share all digits but the last as well. Consecutive
// positions are computed eight at a time. Memory is its own, up to 32 KiB on the stack of its user.
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/rotary/angles.hpp>
#include <posenc/rotate/angle_leaves.hpp>
#include <posenc/simd/dispatch.hpp>

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>

POSENC_NAMESPACE_BEGIN

/// Which side of a score a vector is on. Only xPos treats them differently.
enum class Side { query, key };

/// What is done with an angle besides rotating by it.
struct Turn {
  double amplitude = 1;        ///< multiplies the result
  bool inverse = false;        ///< rotates the other way round
  std::optional<Side> side{};  ///< scales by xPos's magnitude of this side, or not at all
};

namespace detail {

/// Pairs that are dealt with at once.
inline constexpr Index most_angle_pairs = 128;

/// Cosines and sines of up to 128 pairs, in U.
template <class U>
class TokenAngles {
 public:
  static constexpr Index most_pairs = most_angle_pairs;
  static constexpr Index most_tokens = 8;

  /// The table is that of the state, or one at another step.
  TokenAngles(const AngleLeaves<U>& leaves, const RotaryState& state, const AngleTable& table,
              const Turn& turn)
      : leaves_(leaves), state_(state), table_(table), turn_(turn),
        grows_(turn.side && state.growth.size() != 0) {}

  /// Chooses pairs [first, first + count): first a multiple of AngleTable::pair_block, count at
  /// most most_pairs.
  void choose(Index first, Index count) noexcept {
    first_ = first;
    count_ = count;
    padded_ = std::min((count + AngleTable::pair_block - 1) / AngleTable::pair_block *
                           AngleTable::pair_block,
                       most_pairs);
    known_ = false;
    rest_ = -1;
    grown_ = nowhere;
    for (Axis& axis : axes_) axis.prefix = -1;
    if (state_.axes > 1) fill_masks();
  }

  [[nodiscard]] Index first() const { return first_; }
  [[nodiscard]] Index count() const { return count_; }
  [[nodiscard]] Index padded() const { return padded_; }  ///< count, rounded up to pair_block
  [[nodiscard]] const U* cos() const { return cos_; }
  [[nodiscard]] const U* sin() const { return sin_; }
  static constexpr Index row = most_pairs;  ///< from one token to the next, after fill()

  /// Moves to a position, the same on all axes.
  template <class P>
  void at(P position) noexcept {
    const auto value = static_cast<double>(position);
    if (known_ && std::all_of(at_, at_ + state_.axes, [&](double p) { return p == value; })) return;
    angles(axes_[0], position, cos_, sin_);
    std::fill_n(at_, state_.axes, value);
    known_ = true;
    if (grows_) grow(at_[0], cos_, sin_);
  }

  /// Moves to some of the tokens [first, last), beginning with the first, and returns to how many:
  /// cos() and sin() then have as many rows.
  [[nodiscard]] Index fill(const Positions& positions, Index first, Index last) noexcept {
    const bool whole = !positions.is_real() && positions.axes() == 1;
    const Position n = whole ? positions[first] : -1;
    if (n < 0 || table_.mode() != Angles::exact) {
      at(positions, first);
      return 1;
    }
    constexpr Position mask = AngleTable::radix - 1;
    const Index most = std::min<Index>({most_tokens, last - first, mask + 1 - (n & mask)});
    Index count = positions.is_offset() ? most : 1;
    while (count < most && positions[first + count] == n + count) ++count;
    if (count == 1) {
      at(positions, first);
      return 1;
    }
    finish(axes_[0], n, count, cos_, sin_);
    for (Index t = 0; grows_ && t < count; ++t)
      grow(static_cast<double>(n + t), cos_ + t * row, sin_ + t * row);
    known_ = false;  // the first row is of the first token: nothing that at() could go on from
    return count;
  }

  /// Moves to a token's position.
  void at(const Positions& positions, Index token) noexcept {
    if (positions.axes() == 1 || state_.axes == 1) {
      if (positions.is_real())
        at(positions.real(token));
      else
        at(positions[token]);
      return;
    }
    double next[most_axes] = {};
    for (int axis = 0; axis < state_.axes; ++axis)
      next[axis] = positions.is_real() ? positions.real(axis, token)
                                       : static_cast<double>(positions.at(axis, token));
    if (std::all_of(next, next + state_.axes, [&](double p) { return p == next[0]; }))
      return at(next[0]);
    U scratch[2 * most_pairs];
    for (int axis = 0; axis < state_.axes; ++axis) {
      if (known_ && !grows_ && at_[axis] == next[axis]) continue;
      angles(axes_[axis], next[axis], scratch, scratch + most_pairs);
      leaves_.blend_into(padded_, masks_[axis], scratch, cos_);
      leaves_.blend_into(padded_, masks_[axis], scratch + most_pairs, sin_);
      at_[axis] = next[axis];
    }
    known_ = true;
    if (grows_) grow(at_[0], cos_, sin_);
  }

 private:
  static constexpr int most_axes = Positions::most_axes;
  static constexpr double nowhere = std::numeric_limits<double>::quiet_NaN();

  /// All digits but the last, multiplied out.
  struct Axis {
    Position prefix = -1;  ///< position / 32
    const double* high = nullptr;
    Index stride = 0;
    double own[2 * most_pairs];
  };

  void angles(Axis& axis, double position, U* cos, U* sin) noexcept {
    if (position == std::floor(position) && std::abs(position) <= 0x1p62)
      return angles(axis, static_cast<Position>(position), cos, sin);
    if (table_.mode() != Angles::exact) return peer_angles(position, cos, sin);
    // Whole tokens by the digits, as far as integers go; what is left is often the same for one token
    // after another.
    const double distance = std::abs(position);
    const double whole = distance <= 0x1p62 ? std::floor(distance) : 0;
    if (const double rest = distance - whole; rest != rest_) {
      table_.evaluate(rest, first_, padded_, rest_angles_, rest_angles_ + most_pairs);
      rest_ = rest;
    }
    const auto n = static_cast<Position>(whole);
    if (n >> AngleTable::radix_bits != axis.prefix) multiply_digits(axis, n);
    double exact[2 * most_pairs];
    leaves_.multiply_angles(padded_, axis.high, axis.stride,
                            table_.row(0, n & (AngleTable::radix - 1)) + first_,
                            table_.row_stride(), exact, most_pairs);
    const bool back = (position < 0) != turn_.inverse;
    leaves_.finish_angles(1, padded_, exact, most_pairs, rest_angles_, most_pairs, 0,
                          turn_.amplitude, back ? -turn_.amplitude : turn_.amplitude, cos, sin,
                          row);
  }

  void angles(Axis& axis, Position position, U* cos, U* sin) noexcept {
    if (table_.mode() != Angles::exact) return peer_angles(static_cast<double>(position), cos, sin);
    finish(axis, position, 1, cos, sin);
  }

  /// The angles of `tokens` positions from one on, which share all digits but the last.
  void finish(Axis& axis, Position position, Index tokens, U* cos, U* sin) noexcept {
    // Rotating back by n is the mirror image of rotating by n, to the last bit.
    const Position n = std::abs(position);
    if (n >> AngleTable::radix_bits != axis.prefix) multiply_digits(axis, n);
    const double* low = table_.row(0, n & (AngleTable::radix - 1)) + first_;
    const bool back = (position < 0) != turn_.inverse;
    leaves_.finish_angles(tokens, padded_, axis.high, axis.stride, low, table_.row_stride(),
                          2 * table_.row_stride(), turn_.amplitude,
                          back ? -turn_.amplitude : turn_.amplitude, cos, sin, row);
  }

  void multiply_digits(Axis& axis, Position n) noexcept {
    axis.prefix = n >> AngleTable::radix_bits;
    Position rest = axis.prefix;
    axis.high = table_.row(1, rest & (AngleTable::radix - 1)) + first_;
    axis.stride = table_.row_stride();
    const auto times = [&](const double* factor, Index stride) {
      leaves_.multiply_angles(padded_, axis.high, axis.stride, factor, stride, axis.own,
                              most_pairs);
      axis.high = axis.own;
      axis.stride = most_pairs;
    };
    // A digit of zero is a factor of exactly one.
    for (int digit = 2; digit < AngleTable::num_digits; ++digit) {
      rest >>= AngleTable::radix_bits;
      if (const Position value = rest & (AngleTable::radix - 1); value != 0)
        times(table_.row(digit, value) + first_, table_.row_stride());
    }
    constexpr int bits = AngleTable::radix_bits * AngleTable::num_digits;
    if (const Position beyond = n >> bits << bits; beyond != 0) {
      double excess[2 * most_pairs];
      table_.evaluate(static_cast<double>(beyond), first_, padded_, excess, excess + most_pairs);
      times(excess, most_pairs);
    }
  }

  void peer_angles(double position, U* cos, U* sin) const noexcept {
    table_.evaluate_peer(position, first_, count_, turn_.amplitude,
                         turn_.inverse ? -turn_.amplitude : turn_.amplitude, cos, sin);
  }

  /// xPos: times exp(growth (n - centre)) on queries, its inverse on keys. Of whole tokens it is
  /// what all digits but the last give, times what the last gives; neither is further from one than
  /// their product, so none overflows alone.
  __attribute__((noinline)) void grow(double position, U* cos, U* sin) noexcept {
    const double distance = position - static_cast<double>(state_.centre);
    const double direction = (*turn_.side == Side::query) == !turn_.inverse ? distance : -distance;
    const bool is_whole = direction == std::floor(direction) && std::abs(direction) <= 0x1p62;
    const Position n = is_whole ? static_cast<Position>(direction) : 0,
                   last = n % AngleTable::radix;
    const double prefix = is_whole ? static_cast<double>(n - last) : direction;
    if (prefix != grown_) exponentials(grown_ = prefix, grown_by_);
    leaves_.magnify(padded_, grown_by_, table_.growth_row(last) + first_, cos, sin);
  }

  /// exp(growth distance); one beyond the last pair.
  void exponentials(double distance, double* magnitude) const noexcept {
    for (Index i = 0; i < count_; ++i)
      magnitude[i] = std::exp(state_.growth[first_ + i] * distance);
    std::fill(magnitude + count_, magnitude + padded_, 1.0);
  }

  void fill_masks() noexcept {
    using Bits = std::conditional_t<sizeof(U) == 8, std::uint64_t, std::uint32_t>;
    for (int axis = 0; axis < state_.axes; ++axis)
      for (Index i = 0; i < padded_; ++i) {
        const bool mine = i < count_ && state_.axis[static_cast<std::size_t>(first_ + i)] == axis;
        masks_[axis][i] = std::bit_cast<U>(mine ? ~Bits{0} : Bits{0});
      }
  }

  const AngleLeaves<U>& leaves_;
  const RotaryState& state_;
  const AngleTable& table_;
  Turn turn_;
  bool grows_;
  bool known_ = false;  ///< cos and sin are those of at_
  Index first_ = 0, count_ = 0, padded_ = 0;
  double at_[most_axes] = {};
  double rest_ = -1;  ///< the part of a real position beyond whole tokens, and its angles
  double rest_angles_[2 * most_pairs];
  double grown_ =
      nowhere;  ///< a distance from the centre, of all digits but the last, and its magnitudes
  double grown_by_[most_pairs];
  Axis axes_[most_axes];
  alignas(64) U cos_[most_tokens * most_pairs];
  alignas(64) U sin_[most_tokens * most_pairs];
  alignas(64) U masks_[most_axes][most_pairs];
};

}  // namespace detail

/// Writes cosine and sine of pairs [first, first + count) at an integer or real position.
template <class P, class T>
void cos_sin(const AngleTable& table, P position, Index first, Index count, T* cos, T* sin) {
  const detail::AngleLeaves<T>& leaves =
      simd::dispatch<T>([]<class Level>(Level) -> const detail::AngleLeaves<T>& {
        return detail::angle_leaves<Level, T>;
      });
  const RotaryState plain;
  detail::TokenAngles<T> angles(leaves, plain, table, {});
  for (Index done = 0; done < count;) {
    const Index skip = (first + done) % AngleTable::pair_block;
    const Index some = std::min(detail::most_angle_pairs - skip, count - done);
    angles.choose(first + done - skip, skip + some);
    angles.at(position);
    std::copy_n(angles.cos() + skip, some, cos + done);
    std::copy_n(angles.sin() + skip, some, sin + done);
    done += some;
  }
}

POSENC_NAMESPACE_END
