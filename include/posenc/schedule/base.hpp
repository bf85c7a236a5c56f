// SPDX-License-Identifier: MIT
//
// Which rotary base a context needs. Two answers, of which neither looks at a model:
//
//   base_within_trained_angles(...)   no angle that training has not met
//   least_base_of_context(...)        attention can still tell similar tokens from others
//
// The first is what NTK and PI aim at. The second says that a model may read far on such a base without
// using what it reads: fit and use both.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <complex>
#include <numbers>
#include <string>

POSENC_NAMESPACE_BEGIN

/// What a model was trained on.
struct TrainedRotation {
  double base = 10000;
  Index rotary_dim = 128;
  Index length = 4096;  ///< tokens of its context
};

namespace detail {
inline void check_rotary(Problems& problems, Index rotary_dim) {
  problems.require(rotary_dim >= 2 && rotary_dim % 2 == 0,
                   "rotary_dim must be even and positive, got ", rotary_dim, ".");
}
}  // namespace detail

/// Pairs that have seen a full turn in training: those below rotary_dim / 2 log_base(length / 2 pi), the
/// critical dimension of Liu et al., arXiv 2310.05209, section 3.
[[nodiscard]] inline Index pairs_with_a_full_turn(const TrainedRotation& trained) {
  Index pairs = 0;
  const auto d = static_cast<double>(trained.rotary_dim);
  while (pairs < trained.rotary_dim / 2 &&
         static_cast<double>(trained.length) *
                 std::pow(trained.base, -2 * static_cast<double>(pairs) / d) >=
             2 * std::numbers::pi)
    ++pairs;
  return pairs;
}

/// The least base on which no pair reaches, within `target` tokens, an angle that it has not met in
/// training: pairs with a full turn have met all of them, and for each other pair i
///
///   target base'^(-2i/d) <= length base^(-2i/d),   base' >= base (target / length)^(d / 2i)
///
/// The first of these pairs asks for most. It is NTK-aware scaling that stops at the critical pair instead of
/// the last. Throws Error; also where pair 0, which no base changes, has not turned (lengths below 7).
[[nodiscard]] inline double base_within_trained_angles(const TrainedRotation& trained,
                                                       Index target) {
  Problems problems;
  detail::check_rotary(problems, trained.rotary_dim);
  problems.require(std::isfinite(trained.base) && trained.base > 1,
                   "the trained base must be finite and exceed 1, got ", trained.base, ".");
  problems.require(static_cast<double>(trained.length) >= 2 * std::numbers::pi, "within ",
                   trained.length,
                   " tokens the first pair makes no full turn, and no base slows it down.");
  problems.require(target > 0, "the target length must be positive, got ", target, ".");
  problems.raise_if_any("posenc::base_within_trained_angles");
  const Index first = pairs_with_a_full_turn(trained);
  if (first == trained.rotary_dim / 2 || target <= trained.length) return trained.base;
  return trained.base *
         std::pow(static_cast<double>(target) / static_cast<double>(trained.length),
                  static_cast<double>(trained.rotary_dim) / (2 * static_cast<double>(first)));
}

/// B(m) = sum over pairs of cos(m base^(-2i/d)).
[[nodiscard]] inline double similarity_at(double distance, double base, Index rotary_dim) {
  double sum = 0;
  for (Index i = 0; i < rotary_dim / 2; ++i)
    sum += std::cos(distance *
                    std::pow(base, -2 * static_cast<double>(i) / static_cast<double>(rotary_dim)));
  return sum;
}

/// The first distance among 0, ..., length - 1 at which B(m) is negative, so that a key similar to its query
/// scores below a random one on average; `length` where there is none.
[[nodiscard]] inline Index first_indistinct_distance(double base, Index rotary_dim, Index length) {
  using Turns = Eigen::Array<std::complex<double>, Eigen::Dynamic, 1>;
  Turns step(rotary_dim / 2);
  for (Index i = 0; i < step.size(); ++i)
    step[i] = std::polar(
        1.0, std::pow(base, -2 * static_cast<double>(i) / static_cast<double>(rotary_dim)));
  Turns at = Turns::Ones(step.size());
  for (Index m = 0; m < length; ++m) {
    if (at.real().sum() < 0) return m;
    at *= step;
  }
  return length;
}

/// The least base with which B(m) is not negative at any distance within `length` tokens: Men et al., arXiv
/// 2405.14591, theorem 1 and table 2 (4.3e3 for 1,024 tokens of 128 channels, 8.4e4 for 8,192). Bases rise by
/// `ratio` from step to step until one does; what does not is by no means all below what does, so a finer
/// ratio may find a lower one, and takes longer (3 s for 32,768 tokens). Throws Error.
[[nodiscard]] inline double least_base_of_context(Index length, Index rotary_dim,
                                                  double ratio = 1.001) {
  Problems problems;
  detail::check_rotary(problems, rotary_dim);
  problems.require(length > 0, "length must be positive, got ", length, ".");
  problems.require(ratio > 1 && ratio <= 2, "ratio must lie within (1, 2], got ", ratio, ".");
  problems.raise_if_any("posenc::least_base_of_context");
  Index suspect = 0;  // where the base before was negative: the next one is nearly everywhere, too
  for (double base = ratio; base < 1e18; base *= ratio) {
    if (similarity_at(static_cast<double>(suspect), base, rotary_dim) < 0) continue;
    suspect = first_indistinct_distance(base, rotary_dim, length);
    if (suspect == length) return base;
  }
  throw Error("posenc::least_base_of_context",
              {"no base up to 1e18 keeps " + std::to_string(length) + " tokens apart with " +
               std::to_string(rotary_dim) + " rotated channels."});
}

POSENC_NAMESPACE_END
