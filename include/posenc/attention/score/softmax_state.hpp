// SPDX-License-Identifier: MIT
//
// The state of a softmax over some of the keys, and how two of them become one.
//
//   For each row: a shift s near its greatest score, the sum l of exp(x - s), and the sum o of
//   exp(x - s) v. At the end output = o / l and log-sum-exp = s + ln l. On request also the greatest
//   score m and the sum e of exp(x - s) (x - s): then the greatest weight is exp(m - s) / l, and the
//   entropy -sum w ln w of the weights w = exp(x - s) / l is ln l - e / l.
//
//   Milakov and Gimelshein, arXiv 1805.02867; FlashAttention, arXiv 2205.14135.
#pragma once

#include <posenc/core/types.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What a row and another state's row are multiplied by when they are merged; 0: it has no effect,
/// whatever it holds.
template <class T>
struct MergeFactors {
  T mine = 1, theirs = 0;
};

/// Merges another state's shift and sum into a row's.
template <class T>
MergeFactors<T> merge_sums(T& shift, T& sum, T other_shift, T other_sum) {
  if (other_sum == 0) return {};  // it saw nothing
  const T greatest = other_shift > shift ? other_shift : shift;
  const MergeFactors<T> factors{std::exp(shift - greatest), std::exp(other_shift - greatest)};
  sum = sum * factors.mine + other_sum * factors.theirs;
  shift = greatest;
  return factors;
}

/// What is asked of a row besides.
template <class T>
struct RowSpread {
  T greatest = -std::numeric_limits<T>::infinity();  ///< score
  T sum = 0;                                         ///< of exp(x - s) (x - s)
};
/// Merges another state's into a row's; the shifts and sums are those before they are merged.
template <class T>
RowSpread<T> merge_spreads(const RowSpread<T>& mine, T shift, T sum, const RowSpread<T>& theirs,
                           T other_shift, T other_sum) {
  if (other_sum == 0) return mine;
  if (sum == 0) return theirs;
  const T greatest = other_shift > shift ? other_shift : shift;
  const auto moved = [&](const RowSpread<T>& of, T from, T count) {
    const T factor = std::exp(from - greatest);  // may be 0, of distances beyond all numbers
    return factor * of.sum +
           factor * count * std::max(std::numeric_limits<T>::lowest(), from - greatest);
  };
  return {std::max(mine.greatest, theirs.greatest),
          moved(mine, shift, sum) + moved(theirs, other_shift, other_sum)};
}
template <class T>
T entropy_of(const RowSpread<T>& spread, T sum) {
  if (sum == 0) return 0;
  return static_cast<T>(std::log(static_cast<double>(sum)) -
                        static_cast<double>(spread.sum) / static_cast<double>(sum));
}
template <class T>
T greatest_weight(const RowSpread<T>& spread, T shift, T sum) {
  return sum == 0 ? T{0} : std::exp(spread.greatest - shift) / sum;
}

template <class T>
T log_sum_exp(T shift, T sum) {
  return static_cast<T>(static_cast<double>(shift) + std::log(static_cast<double>(sum)));
}

/// Parts of the keys are merged in pairs, pairs of pairs, ...: each by whoever comes last, so what is
/// merged with what, and so the result, does not depend on who that is. Calls merge(left, right) for
/// the pairs that end with this part; true for the one who merged all of them, into part 0. `arrived`
/// has a clear flag for each part.
template <class Merge>
bool merge_parts(Index part, Index parts, std::atomic_flag* arrived, const Merge& merge) {
  for (Index span = 1; span < parts; span *= 2) {
    const Index left = part & ~span, right = left + span;
    part = left;
    if (right >= parts) continue;
    if (!arrived[right].test_and_set(std::memory_order_acq_rel)) return false;
    merge(left, right);
  }
  return true;
}

}  // namespace detail

POSENC_NAMESPACE_END
