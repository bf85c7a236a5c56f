// SPDX-License-Identifier: MIT
#include "oracle.hpp"

namespace mixers_test {

Outputs recurrent(const Head& head) {
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
    std::vector<Real> decays;
    for (Index c = 0; c < K; ++c) decays.push_back(std::exp(head.log_decay[size(t * K + c)]));
    std::vector<Real> written(v, v + V);
    std::vector<Real> removed(size(V));
    if (!head.removal.empty()) {
      for (Index c = 0; c < K; ++c)
        for (Index j = 0; j < V; ++j)
          removed[size(j)] += head.removal[size(t * K + c)] * s[size(c * V + j)].value;
    } else if (!head.beta.empty())
      for (Index j = 0; j < V; ++j) {
        for (Index c = 0; c < K; ++c)
          written[size(j)] -= k[c] * decays[size(c)] * s[size(c * V + j)].value;
        written[size(j)] *= head.beta[size(t)];
      }
    for (Index c = 0; c < K; ++c) {
      if (before)
        for (Index j = 0; j < V; ++j) {
          out[size(j)].add(q[c], s[size(c * V + j)]);
          out[size(j)].add(q[c] * head.bonus[size(c)] * k[c], exact(v[j]));
        }
      const Real g = head.log_decay[size(t * K + c)];
      z[size(c)].decay(g, decays[size(c)]);
      z[size(c)].add(1, exact(k[c]));
      sum.add(q[c], z[size(c)]);
      for (Index j = 0; j < V; ++j) {
        Sum& x = s[size(c * V + j)];
        x.decay(g, decays[size(c)]);
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

std::vector<Real> dense(const Head& head) {
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
