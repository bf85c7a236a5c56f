// SPDX-License-Identifier: MIT
//
// Mixers by their formulas in long double, and how far floats may be from them. Shares no code with the library.
//
// A head is a list of tokens with log decays. Its recurrence is computed as it is written; in dense() it is unrolled.
// Besides the output, o = sum of terms x with weights, three sums of absolute terms tell what rounding may do to it:
//
//   terms   |x|              rounded a number of times that depends on the shape alone: products of key_dim channels,
//                            sums over a chunk, products of at most 32 decays
//   ages    |x| age          rounded once more, and multiplied by a rounded decay, for each token (step) or chunk
//   logs    |x| |log decay|  the exponents themselves are sums of rounded numbers
#pragma once

#include <posenc/core/types.hpp>

#include <cmath>
#include <vector>

namespace mixers_test {

using posenc::Index;
using Real = long double;

inline std::size_t size(Index n) { return static_cast<std::size_t>(n); }

/// One head of a mixer, in the terms of the frame: rows of tokens.
struct Head {
  Index tokens = 0, keys = 0, values = 0;
  std::vector<Real> q{}, k{}, v{};  ///< [tokens][keys], [tokens][keys], [tokens][values]
  std::vector<Real> log_decay{};    ///< [tokens][keys]
  std::vector<Real> bonus{};        ///< [keys], or empty
  std::vector<Real> beta{};         ///< [tokens] with the delta rule, otherwise empty
  std::vector<Real> removal{};      ///< [tokens][keys] with a removal vector, and then so is beta
  Real skip = 0;
  std::vector<Real> state{};  ///< [keys][values], before the first token
  std::vector<Real> sum{};    ///< [keys]
};

/// A number and the sums of what may be wrong with it.
struct Sum {
  Real value = 0;
  double terms = 0, ages = 0, logs = 0;

  void add(Real weight, const Sum& x) {
    value += weight * x.value;
    const auto size = static_cast<double>(std::abs(weight));
    terms += size * x.terms, ages += size * x.ages, logs += size * x.logs;
  }
  /// Decays by exp(g), once.
  void decay(Real g) { decay(g, std::exp(g)); }
  void decay(Real g, Real a) {  ///< a = exp(g)
    const auto size = static_cast<double>(std::isinf(g) ? 0 : -g), decay = static_cast<double>(a);
    value *= a;
    logs = decay * (logs + size * terms);
    ages = decay * (ages + terms);
    terms *= decay;
  }
  /// How far from `value` floats may be that are rounded once for so many tokens.
  [[nodiscard]] double bound(Index keys, Index tokens_of_rounding) const {
    const double rounded_terms = terms * static_cast<double>(keys + 300) + logs * 40;
    return 0x1p-24 * (rounded_terms + 5 * (ages / static_cast<double>(tokens_of_rounding) + terms));
  }
};
inline Sum exact(Real x) { return {x, static_cast<double>(std::abs(x)), 0, 0}; }

struct Outputs {
  std::vector<Sum> out;    ///< [tokens][values]
  std::vector<Sum> sums;   ///< [tokens]: <q, z>
  std::vector<Sum> state;  ///< [keys][values], behind the last token
};

/// The recurrence, token by token.
Outputs recurrent(const Head& head);

/// The values of the outputs, unrolled: each token with all before it, by decays between them that are summed anew.
std::vector<Real> dense(const Head& head);

}  // namespace mixers_test
