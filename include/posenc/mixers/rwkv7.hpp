// SPDX-License-Identifier: MIT
//
// RWKV-7, the recurrence of its time mixing and what stands around it in a block.
//
//   Peng et al., RWKV-7 "Goose" with Expressive Dynamic State Evolution, arXiv 2503.14456;
//   BlinkDL/RWKV-LM, RWKV-v7/rwkv_v7_numpy.py; fla-org/flash-linear-attention, fla/ops/rwkv7.
//
//   S_t = S_{t-1} (diag(w_t) - kk_t (a_t o kk_t)^T) + v_t k~_t^T     y_t = S_t r_t     w_t = exp(-e^(-1/2) sigmoid(x_t))
//
// S is [values][keys] there, the transpose of State::matrices. It is a delta rule in which what is removed is found by a
// vector kk of its own, of length 1, before the decay, and a, 0 to 1, says by channel how much of it. In the terms of the
// frame q is r, k is k~, the decay by token is x, beta is a and removal is kk: RWKV7::inputs(). Decays are within
// (0.545, 1), so that the weights of a chunk are plain products of matrices.
//
// A block, with R, K, V, X, A and G what its projections and small networks make of the shifted input:
//
//   a = sigmoid(A)    rwkv7::keys: kk = K o k_k / max(|K o k_k|, 1e-12), k~ = K o (1 + (a - 1) o k_a)
//   y = RWKV7(R, X, k~, V, kk, a)     y = head_norm(y), .eps = 64e-5, .centred = true, .weight, .bias
//   rwkv7::add_bonus: y += (sum over the head of R o k~ o r_k) V        out = W_o (y o G)
//
// From the second layer on V is drawn to the V of the first: V + (V_first - V) o sigmoid(...), which is the caller's.
#pragma once

#include <posenc/core/element.hpp>
#include <posenc/core/overlap.hpp>
#include <posenc/mixers/leaves.hpp>
#include <posenc/mixers/recurrence.hpp>
#include <posenc/mixers/tensors.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace mixers {

struct RWKV7 {
  static constexpr std::string_view name = "RWKV7";

  Index num_heads = 0;
  Index head_size = 64;
  bool logits = true;  ///< false: log(w) is passed, any number of at most 0

  /// The heads of a model of this width.
  [[nodiscard]] static RWKV7 of_width(Index d_model, Index head_size = 64) {
    return {.num_heads = head_size > 0 && d_model % head_size == 0 ? d_model / head_size : 0,
            .head_size = head_size};
  }

  /// The tensors of a call by the names of the reference.
  [[nodiscard]] static Inputs inputs(const Operand& r, const Operand& x, const Operand& k,
                                     const Operand& v, const Operand& kk, const Operand& a) {
    return {.q = r, .k = k, .v = v, .decay = x, .beta = a, .removal = kk};
  }

  void check(Problems&) const {}

  [[nodiscard]] Recurrence recurrence() const {
    Recurrence of{.shape = {num_heads, num_heads, head_size, head_size},
                  .decay = Decay::channel,
                  .delta = true,
                  .removal = true};
    if (logits)
      of.rule = &log_decay, of.rule_gradient = &log_decay_gradient, of.least_log_decay = -rate;
    return of;
  }

 private:
  static constexpr double rate = 0.60653065971263342;  // e^(-1/2)
  static void log_decay(const Recurrence&, Index, Index tokens, Index row, float* decay, float*) {
    leaves().sigmoid(tokens * row, static_cast<float>(-rate), decay, decay);
  }
  static void log_decay_gradient(const Recurrence&, Index, Index tokens, Index row, float* passed,
                                 float* gradient, const float*, RuleSums&) {
    leaves().sigmoid(tokens * row, 1, passed, passed);
    for (Index i = 0; i < tokens * row; ++i)
      gradient[i] *= static_cast<float>(-rate) * passed[i] * (1 - passed[i]);
  }
};

namespace rwkv7 {

/// The parameters of a layer for its keys, [heads][width] each.
struct KeyWeights {
  std::span<const float> k_k{}, k_a{};
};

template <class X, class Y>
void check_same(Problems& problems, const char* name, const TensorView<X>& x, const char* as,
                const TensorView<Y>& y) {
  posenc::detail::check_view(problems, name, x);
  problems.require(x.tokens == y.tokens && x.heads == y.heads && x.width == y.width, name,
                   " must have the shape of ", as, ", ", posenc::detail::ShapeText(y), ", got ",
                   posenc::detail::ShapeText(x), ".");
}
inline void check_weights(Problems& problems, const char* name, std::span<const float> values,
                          Index heads, Index width) {
  problems.require(std::ssize(values) == heads * width, name, " must have ", heads * width,
                   " numbers, got ", values.size(), ".");
}

/// What a block makes of its projected key before the recurrence: k becomes k~ in place, and kk is written. The norm is
/// taken by head, in double, with a floor of 1e-12; a is 0 to 1, behind its sigmoid. 16-bit elements are rounded once.
/// Throws Error for shapes that do not fit together.
template <Element K, class A, Element R>
  requires Element<std::remove_const_t<A>>
void keys(const TensorView<K>& k, const TensorView<A>& a, const KeyWeights& by,
          const TensorView<R>& kk) {
  Problems problems;
  posenc::detail::check_view(problems, "k", k);
  posenc::detail::check_result(problems, "k", k);
  check_same(problems, "a", a, "k", k);
  check_same(problems, "kk", kk, "k", k);
  posenc::detail::check_result(problems, "kk", kk);
  problems.require(!overlap(kk, k) && !overlap(kk, a), "kk must not overlap k or a.");
  check_weights(problems, "k_k", by.k_k, k.heads, k.width);
  check_weights(problems, "k_a", by.k_a, k.heads, k.width);
  problems.raise_if_any("posenc::mixers::rwkv7::keys");
  for (Index t = 0; t < k.tokens; ++t)
    for (Index h = 0; h < k.heads; ++h) {
      const auto scaled = [&](Index c) {
        return static_cast<double>(widen<K>(k(t, h, c))) *
               static_cast<double>(by.k_k[static_cast<std::size_t>(h * k.width + c)]);
      };
      double squares = 0;
      for (Index c = 0; c < k.width; ++c) squares += scaled(c) * scaled(c);
      const double length = std::max(std::sqrt(squares), 1e-12);
      for (Index c = 0; c < k.width; ++c) {
        kk(t, h, c) = narrow<R>(static_cast<arithmetic_t<R>>(scaled(c) / length));
        const double more = (static_cast<double>(widen<std::remove_const_t<A>>(a(t, h, c))) - 1) *
                            static_cast<double>(by.k_a[static_cast<std::size_t>(h * k.width + c)]);
        k(t, h, c) = narrow<K>(
            static_cast<arithmetic_t<K>>(static_cast<double>(widen<K>(k(t, h, c))) * (1 + more)));
      }
    }
}

/// Behind the norm by head: y += (sum of r o k~ o r_k over the head) v, in double; r_k is [heads][width].
/// Throws Error for shapes that do not fit together.
template <class R, class K, class V, Element Y>
  requires Element<std::remove_const_t<R>> && Element<std::remove_const_t<K>> &&
           Element<std::remove_const_t<V>>
void add_bonus(const TensorView<R>& r, const TensorView<K>& k, const TensorView<V>& v,
               std::span<const float> r_k, const TensorView<Y>& y) {
  Problems problems;
  posenc::detail::check_view(problems, "y", y);
  posenc::detail::check_result(problems, "y", y);
  check_same(problems, "r", r, "y", y);
  check_same(problems, "k", k, "y", y);
  check_same(problems, "v", v, "y", y);
  check_weights(problems, "r_k", r_k, y.heads, y.width);
  problems.raise_if_any("posenc::mixers::rwkv7::add_bonus");
  for (Index t = 0; t < y.tokens; ++t)
    for (Index h = 0; h < y.heads; ++h) {
      double own = 0;
      for (Index c = 0; c < y.width; ++c)
        own += static_cast<double>(widen<std::remove_const_t<R>>(r(t, h, c))) *
               static_cast<double>(widen<std::remove_const_t<K>>(k(t, h, c))) *
               static_cast<double>(r_k[static_cast<std::size_t>(h * y.width + c)]);
      for (Index c = 0; c < y.width; ++c)
        y(t, h, c) = narrow<Y>(static_cast<arithmetic_t<Y>>(
            static_cast<double>(widen<Y>(y(t, h, c))) +
            own * static_cast<double>(widen<std::remove_const_t<V>>(v(t, h, c)))));
    }
}

}  // namespace rwkv7

}  // namespace mixers

POSENC_NAMESPACE_END
