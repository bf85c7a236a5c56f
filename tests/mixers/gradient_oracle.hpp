// SPDX-License-Identifier: MIT
//
// Gradients of a head of a mixer, dense, in long double: every pair of tokens by itself, with the decays between them
// multiplied anew. Shares no code with the library.
//
// The loss is sum of d_out o + sum of d_state S_T + sum of d_sum z_T. Besides each gradient stands the sum of the sizes of
// its terms, which tells what rounding may do to it.
#pragma once

#include "oracle.hpp"

#include <cmath>
#include <functional>
#include <vector>

namespace mixers_test {

/// A gradient and the sum of the sizes of its terms.
struct Slope {
  Real value = 0, terms = 0;
  void add(Real x) { value += x, terms += std::abs(x); }
  /// Another one, times a factor.
  void add(Real factor, const Slope& x) {
    value += factor * x.value, terms += std::abs(factor) * x.terms;
  }
};

struct HeadGradient {
  std::vector<Slope> q, k, v, log_decay, bonus, state, sum;
  Slope skip;

  explicit HeadGradient(const Head& of)
      : q(of.q.size()), k(of.k.size()), v(of.v.size()), log_decay(of.log_decay.size()),
        bonus(of.bonus.size()), state(size(of.keys * of.values)), sum(size(of.keys)) {}
};

/// What comes back to a head: gradients of its outputs, and of what it leaves.
struct Comes {
  std::vector<Real> out, state, sum;  ///< [tokens][values], [keys][values], [keys]
};
/// By what an output is multiplied, from the token and <q, z>.
using Factor = std::function<Real(Index token, Real sum)>;

/// `uses_sum`: factors depend on the sum.
HeadGradient gradient(const Head& of, const Comes& comes, const Factor& factor, bool uses_sum);

/// The loss, by the recurrence of oracle.hpp.
Real loss(const Head& of, const Comes& comes, const Factor& factor);

}  // namespace mixers_test
