// SPDX-License-Identifier: MIT
//
// What stands between the projections of RWKV's channel mixing, and the receptance of its time mixing.
//
//   Peng et al., arXiv 2305.13048; BlinkDL/RWKV-LM, RWKV-v4/src/model.py, RWKV-v7/rwkv_v7_numpy.py.
//
//   k = squared_relu(W_k x_k)    out = W_v k,  and up to RWKV-6  out = sigmoid(W_r x_r) o W_v k
//
// x_k and x_r are shifted (token_shift.hpp), the projections are the caller's. Computed in double, 16-bit elements are
// rounded once; NaN remains NaN.
#pragma once

#include <posenc/core/element.hpp>
#include <posenc/core/overlap.hpp>

#include <cmath>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace mixers {

namespace channel_mix {

/// x = f(token, head, channel, x), in place.
template <class T, class F>
void change(const TensorView<T>& x, const F& f) {
  for (Index t = 0; t < x.tokens; ++t)
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c)
        x(t, h, c) = narrow<T>(
            static_cast<arithmetic_t<T>>(f(t, h, c, static_cast<double>(widen<T>(x(t, h, c))))));
}

}  // namespace channel_mix

/// x = max(x, 0)^2, in place. Throws Error where x cannot hold a result.
template <Element T>
void squared_relu(const TensorView<T>& x) {
  Problems problems;
  posenc::detail::check_view(problems, "x", x);
  posenc::detail::check_result(problems, "x", x);
  problems.raise_if_any("posenc::mixers::squared_relu");
  channel_mix::change(x, [](Index, Index, Index, double v) { return v < 0 ? 0 : v * v; });
}

/// x = sigmoid(r) o x, in place; r is a projection. Throws Error for shapes that do not fit together.
template <Element T, class R>
  requires Element<std::remove_const_t<R>>
void receptance(const TensorView<R>& r, const TensorView<T>& x) {
  Problems problems;
  posenc::detail::check_view(problems, "x", x);
  posenc::detail::check_result(problems, "x", x);
  posenc::detail::check_view(problems, "r", r);
  problems.require(r.tokens == x.tokens && r.heads == x.heads && r.width == x.width,
                   "r must have the shape of x, ", posenc::detail::ShapeText(x), ", got ",
                   posenc::detail::ShapeText(r), ".");
  problems.raise_if_any("posenc::mixers::receptance");
  channel_mix::change(x, [&](Index t, Index h, Index c, double v) {
    return v / (1 + std::exp(-static_cast<double>(widen<std::remove_const_t<R>>(r(t, h, c)))));
  });
}

}  // namespace mixers

POSENC_NAMESPACE_END
