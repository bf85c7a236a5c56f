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
  Real terms = 0, ages = 0, logs = 0;

  void add(Real weight, const Sum& x) {
    value += weight * x.value;
    const Real size = std::abs(weight);
    terms += size * x.terms, ages += size * x.ages, logs += size * x.logs;
  }
  /// Decays by exp(g), once.
  void decay(Real g) {
    const Real a = std::exp(g), size = std::isinf(g) ? 0 : -g;
    value *= a;
    logs = a * (logs + size * terms);
    ages = a * (ages + terms);
    terms *= a;
  }
  /// How far from `value` floats may be that are rounded once for so many tokens.
  [[nodiscard]] Real bound(Index keys, Index tokens_of_rounding) const {
    const Real rounded_terms = terms * static_cast<Real>(keys + 300) + logs * 40;
    return 0x1p-24L * (rounded_terms + 5 * (ages / static_cast<Real>(tokens_of_rounding) + terms));
  }
};
inline Sum exact(Real x) { return {x, std::abs(x), 0, 0}; }

struct Outputs {
  std::vector<Sum> out;    ///< [tokens][values]
  std::vector<Sum> sums;   ///< [tokens]: <q, z>
  std::vector<Sum> state;  ///< [keys][values], behind the last token
};

/// The recurrence, token by token.
inline Outputs recurrent(const Head& head) {
  const Index K = head.keys, V = head.values;
  const bool before = !head.bonus.empty();
  std::vector<Sum> s, z(size(K));
  for (const Real x : head.state) s.push_back(exact(x));
  s.resize(size(K * V));
  for (std::size_t c = 0; c < head.sum.size(); ++c) z[c] = exact(head.sum[c]);
  Outputs all;
  for (Index t = 0; t < head.tokens; ++t) {
    const Real *q = &head.q[size(t * K)], *k = &head.k[size(t * K)], *v = &head.v[size(t * V)];
    std::vector<Sum> out(size(V));
    Sum sum;
    std::vector<Real> written(v, v + V);
    std::vector<Real> removed(size(V));
    if (!head.removal.empty()) {
      for (Index c = 0; c < K; ++c)
        for (Index j = 0; j < V; ++j)
          removed[size(j)] += head.removal[size(t * K + c)] * s[size(c * V + j)].value;
    } else if (!head.beta.empty())
      for (Index j = 0; j < V; ++j) {
        for (Index c = 0; c < K; ++c)
          written[size(j)] -=
              k[c] * std::exp(head.log_decay[size(t * K + c)]) * s[size(c * V + j)].value;
        written[size(j)] *= head.beta[size(t)];
      }
    for (Index c = 0; c < K; ++c) {
      if (before)
        for (Index j = 0; j < V; ++j) {
          out[size(j)].add(q[c], s[size(c * V + j)]);
          out[size(j)].add(q[c] * head.bonus[size(c)] * k[c], exact(v[j]));
        }
      z[size(c)].decay(head.log_decay[size(t * K + c)]);
      z[size(c)].add(1, exact(k[c]));
      sum.add(q[c], z[size(c)]);
      for (Index j = 0; j < V; ++j) {
        Sum& x = s[size(c * V + j)];
        x.decay(head.log_decay[size(t * K + c)]);
        x.add(k[c], exact(written[size(j)]));
        if (!head.removal.empty())
          x.add(-head.beta[size(t * K + c)] * head.removal[size(t * K + c)],
                exact(removed[size(j)]));
        if (!before) out[size(j)].add(q[c], x);
      }
    }
    for (Index j = 0; j < V; ++j) {
      out[size(j)].add(head.skip, exact(v[j]));
      all.out.push_back(out[size(j)]);
    }
    all.sums.push_back(sum);
  }
  all.state = s;
  return all;
}

/// The values of the outputs, unrolled: each token with all before it, by decays between them that are summed anew.
inline std::vector<Real> dense(const Head& head) {
  const Index K = head.keys, V = head.values;
  const bool before = !head.bonus.empty(), removes = !head.removal.empty();
  std::vector<Real> all, v = head.v, removed(size(head.tokens * V));
  const auto erased = [&](Index at) {
    return removes ? head.beta[size(at)] * head.removal[size(at)] : 0;
  };
  // sign times what row x of token t reads of tokens first to last, added to `to`. Token -1 is the state before all.
  const auto read = [&](Real sign, const Real* x, Index t, Index last, bool reads_before,
                        Real* to) {
    for (Index m = -1; m <= last; ++m)
      for (Index c = 0; c < K; ++c) {
        Real g = 0;
        for (Index s = m + 1; s <= t - (reads_before ? 1 : 0); ++s)
          g += head.log_decay[size(s * K + c)];
        Real weight = sign * x[c] * std::exp(g);
        if (reads_before && m == t) weight = sign * x[c] * head.bonus[size(c)];
        for (Index j = 0; j < V; ++j)
          to[j] += weight * (m >= 0 ? head.k[size(m * K + c)] * v[size(m * V + j)] +
                                          erased(m * K + c) * removed[size(m * V + j)]
                             : head.state.empty() ? 0
                                                  : head.state[size(c * V + j)]);
      }
  };
  for (Index t = 0; t < head.tokens; ++t) {
    if (removes) {
      read(-1, &head.removal[size(t * K)], t, t - 1, true, &removed[size(t * V)]);
    } else if (!head.beta.empty()) {
      read(-1, &head.k[size(t * K)], t, t - 1, false, &v[size(t * V)]);
      for (Index j = 0; j < V; ++j) v[size(t * V + j)] *= head.beta[size(t)];
    }
    std::vector<Real> out(size(V));
    read(1, &head.q[size(t * K)], t, t, before, out.data());
    for (Index j = 0; j < V; ++j) all.push_back(out[size(j)] + head.skip * head.v[size(t * V + j)]);
  }
  return all;
}

}  // namespace mixers_test
