// SPDX-License-Identifier: MIT
//
// What the tests of attention share: calls, and the bound within which the kernel has to agree with
// reference_attention.
//
// The bound is derived, not tuned. Let u be the unit roundoff of the element type T, d the head width,
// n the number of visible keys, A the attention factor, s = scale * temperature; |.| of a vector is its
// norm, and all sums are over the visible keys of one row.
//
//   angles    The computed cosine and sine are off by at most
//               a = a_T + 2^-53 (8 P w + 16),   a_T = 1e-7 for float (the promise of AngleTable), 0 for double
//             where P w is the greatest position (or window) times the greatest frequency: a double angle
//             of that size has a rounding error of 2^-53 P w for each of its three digits, its product
//             with the step, and the reference's own g w; three complex products in double add 16 * 2^-53.
//             A negative position counts for at least 2^14, the size of the digits that make it up.
//   rotation  A pair (x0, x1) that is rotated by a perturbed (cos, sin) moves by at most sqrt(2) a |x|, and its
//             two products and one sum round by at most 2 sqrt(2) u |x|. Amplitude, scale and temperature
//             are factors of the query: 3 u more, and as many for their own rounding to T. So
//               |dq| <= (1.5 a + 9 u) |q|, and the same for the key.
//   dot       A sum of d products rounds by at most d u |q||k| in any order. Altogether
//               e_dot = s A^2 |q||k| ((d + 18) u + 3 a).
//   stages    A bias b is rounded to T and added, 2 u (|x| + |b|). A score map of slope at most 1 does not
//             enlarge what came before it, and rounds by at most 8 u times its argument's magnitude. So each
//             stage adds at most 10 u M with M = s A^2 |q||k| + sum of |b| + |sink|, which bounds every score.
//   exp       The weight e^(x - m) is computed from a difference that is at most 2 M, rounded once and
//             perhaps multiplied by log2(e), 4 u M, and by an exponential good to 4 u. The running maximum m
//             is the same number in numerator and denominator and its own error cancels; rescaling by
//             e^(m - m') happens at most once per tile of keys, 4 u each and 4 u M over all of them. Relative
//             error of a weight:
//               e_weight = e_dot + 10 stages u M + 8 u M + 4 u + 4 n u.
//   sums      Both sums over n keys round by at most n u of their sum of magnitudes, hence
//               |d out| <= 2 max|v| (e_weight + (n + 4) u)
//               |d lse| <= e_weight + (n + 4) u + 2 u |lse|.
//   values    Where values rotate, forth and back, errors of two rotations are added and the two channels
//             of a pair mix: |d out| <= sqrt(2) (2 max|v| (...) + 2 max|v| (1.5 a + 9 u)).
//
// e^e - 1 exceeds e by less than a tenth below 0.1, so everything is multiplied by 1.1; beyond that the
// bound says nothing that |out| <= max|v| did not say, and is replaced by 2 max|v| (3 where values rotate).
#pragma once

#include "random.hpp"
#include "tensor.hpp"

#include <posenc/attention/attention.hpp>
#include <posenc/attention/reference.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace attention_test {

using namespace posenc;

using posenc_test::Random;
using posenc_test::size;
using posenc_test::Tensor;

/// The inputs of one call.
template <class T>
struct Arguments {
  TensorView<const T> q, k, v;
  AttentionOptions<T> options{};

  [[nodiscard]] Position query_index(Index r) const {
    return options.query_offset.value_or(options.key_offset + k.tokens - q.tokens) + r;
  }
  [[nodiscard]] Score score(Index r, Index c, Index h) const {
    Score at{.query_index = query_index(r), .key_index = options.key_offset + c, .head = h};
    at.query = !options.query_positions ? at.query_index : (*options.query_positions)[r];
    at.key = !options.key_positions ? at.key_index : (*options.key_positions)[c];
    return at;
  }
  [[nodiscard]] Position length() const {
    Position length = 0;
    for (Index r = 0; r < q.tokens; ++r) length = std::max(length, score(r, 0, 0).query + 1);
    for (Index c = 0; c < k.tokens; ++c) length = std::max(length, score(0, c, 0).key + 1);
    return length;
  }
};

struct RowBound {
  double out = 0, lse = 0;
};

/// The bound of the head of this file for every row, [query tokens][heads], with the frequencies of the
/// call. For float and double.
template <class T>
std::vector<RowBound> error_bounds(const Arguments<T>& call, const detail::Answers& answers,
                                   const Rotary& rotary);

template <class T, class E>
std::vector<RowBound> error_bounds(const Arguments<T>& call, const Bound<E>& bound) {
  const detail::Answers& answers = bound.answers();
  if (answers.facts().depends_on_length && answers.options().length == 0)
    return error_bounds<T>(call, answers, answers.rotary_at(call.length()));
  return error_bounds<T>(call, answers, answers.rotary());
}

/// The greatest error over its bound; at most 1 where everything agrees. Infinities and NaN must be equal.
template <class T>
double worst_ratio(TensorView<const T> out, const std::vector<T>& lse,
                   const ReferenceResult& expected, const std::vector<RowBound>& bounds,
                   double factor = 1) {
  double worst = 0;
  const auto compare = [&](double got, double wanted, double bound) {
    if (got == wanted || (std::isnan(got) && std::isnan(wanted))) return;
    const double ratio = std::abs(got - wanted) / bound;
    worst = std::isnan(ratio) ? std::numeric_limits<double>::infinity() : std::max(worst, ratio);
  };
  for (Index r = 0; r < out.tokens; ++r)
    for (Index h = 0; h < out.heads; ++h) {
      const std::size_t row = size(r * out.heads + h);
      for (Index d = 0; d < out.width; ++d)
        compare(static_cast<double>(out(r, h, d)), expected.out[row * size(out.width) + size(d)],
                factor * bounds[row].out);
      compare(static_cast<double>(lse[row]), expected.lse[row], factor * bounds[row].lse);
    }
  return worst;
}

/// Output and log-sum-exp of one call.
template <class T>
struct Output {
  Tensor<T> out;
  std::vector<T> lse;

  explicit Output(const Arguments<T>& call,
                  typename Tensor<T>::Memory memory = Tensor<T>::token_major)
      : out(call.q.tokens, call.q.heads, call.v.width, memory),
        lse(size(call.q.tokens * call.q.heads)) {}
};

template <class T, class BoundT>
Output<T> attend(Arguments<T> call, const BoundT& bound) {
  Output<T> result(call);
  call.options.lse = result.lse;
  attention(call.q, call.k, call.v, result.out.view(), bound, call.options);
  return result;
}

/// Kernel against reference in one number, which has to be at most 1.
template <class T, class BoundT>
double kernel_ratio(const Arguments<T>& call, const BoundT& bound) {
  const Output<T> result = attend(call, bound);
  return worst_ratio<T>(result.out, result.lse,
                        reference_attention(call.q, call.k, call.v, bound, call.options),
                        error_bounds(call, bound));
}

}  // namespace attention_test
