// SPDX-License-Identifier: MIT
//
// The leaves that only gradients and weights call, as pointers; see prefill/leaves.hpp.
#pragma once

#include <posenc/core/types.hpp>
#include <posenc/simd/dispatch.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// See simd/leaves/attention.inl and gradients.inl.
template <class T>
struct GradientLeaves {
  void (*softmax_backward)(Index keys, Index width, T* scores, T* gradient, const T* lse,
                           const T* delta) = nullptr;
  void (*add_rows)(Index rows, Index width, const T* x, T* sum) = nullptr;
  void (*multiply)(Index n, const T* slope, T* gradient) = nullptr;
  void (*add_products)(Index keys, Index width, const T* x, const T* gradient, T* sum) = nullptr;
  void (*add_by_distance)(Index keys, Index queries, Index width, const T* gradient,
                          const Position* key, Position first, Position least, T* sum) = nullptr;
  T (*dot)(Index n, const T* x, const T* y) = nullptr;
  void (*add_scaled)(Index n, T factor, const T* x, T* y) = nullptr;  ///< y += factor x
  void (*add_turns)(Index n, const T* turn, const T* x_a, const T* x_b, const T* d_a, const T* d_b,
                    T* sum) = nullptr;
  void (*weights)(Index keys, Index width, T* scores, const T* lse) = nullptr;
};

template <class T>
const GradientLeaves<T>& gradient_leaves(std::size_t level) {
  static constexpr auto table = simd::by_level<T>([]<class Level>(Level) {
    return GradientLeaves<T>{&Level::template softmax_backward<T>, &Level::template add_rows<T>,
                             &Level::template multiply<T>,         &Level::template add_products<T>,
                             &Level::template add_by_distance<T>,  &Level::template dot<T>,
                             &Level::template add_scaled<T>,       &Level::template add_turns<T>,
                             &Level::template weights<T>};
  });
  return table[level];
}

}  // namespace detail

POSENC_NAMESPACE_END
