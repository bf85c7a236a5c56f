// SPDX-License-Identifier: MIT
//
// Softmax over scores that arrive in tiles.
//
//   Milakov and Gimelshein, arXiv 1805.02867; FlashAttention, arXiv 2205.14135.
//
// A row keeps its greatest score m and the sum l of exp(score - m) so far. A tile that raises m
// makes everything summed before smaller by exp(m_old - m_new). At the end output = sum / l and
// log-sum-exp = m + ln l.
#pragma once

#include <posenc/core/types.hpp>

#include <cmath>
#include <limits>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
struct SoftmaxRow {
  T greatest = -std::numeric_limits<T>::infinity();
  T sum = 0;

  /// Takes in one logit without a value (SinkLogit), before any score.
  void add_sink(T logit) {
    if (logit == -std::numeric_limits<T>::infinity()) return;
    const T next = logit > greatest ? logit : greatest;
    sum = sum * std::exp(greatest - next) + std::exp(logit - next);
    greatest = next;
  }

  /// Turns n scores into weights relative to the new maximum; returns the factor by which what was
  /// accumulated before has to be scaled. Scores of minus infinity get weight 0; NaN and plus
  /// infinity make the row NaN.
  template <class Level>
  T absorb(T* scores, Index n) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    const T tile_greatest = Level::maximum(scores, n);
    const T next = tile_greatest > greatest ? tile_greatest : greatest;
    // Where nothing finite has been seen, shifting by the maximum would subtract infinity from
    // itself; NaN must still come through, and minus infinity must still give 0.
    const T shift = next == -infinity ? T{0} : next;
    const T rescale = greatest == next ? T{1} : std::exp(greatest - shift);
    sum = sum * rescale + Level::exponentials(scores, n, shift);
    greatest = next;
    return rescale;
  }

  [[nodiscard]] bool saw_nothing() const { return sum == 0; }
  [[nodiscard]] T log_sum_exp() const {
    return saw_nothing() ? -std::numeric_limits<T>::infinity() : greatest + std::log(sum);
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
