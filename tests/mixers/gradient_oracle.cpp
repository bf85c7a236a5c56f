// SPDX-License-Identifier: MIT
#include "gradient_oracle.hpp"

#include <algorithm>

namespace mixers_test {

HeadGradient gradient(const Head& of, const Comes& comes, const Factor& factor, bool uses_sum) {
  const Index K = of.keys, V = of.values, T = of.tokens;
  const bool before = !of.bonus.empty();
  HeadGradient to(of);
  const auto state = [&](Index c, Index j) {
    return of.state.empty() ? 0 : of.state[size(c * V + j)];
  };
  const auto sum_before = [&](Index c) { return of.sum.empty() ? 0 : of.sum[size(c)]; };
  // between[m + 1][c]: decays from token m, or from before all, to where t reads.
  std::vector<Real> between(size((T + 1) * K), 1);
  const auto pass = [&](Index t) {
    for (Index c = 0; c < K; ++c) {
      const Real decay = std::exp(of.log_decay[size(t * K + c)]);
      for (Index m = -1; m < t; ++m) between[size((m + 1) * K + c)] *= decay;
    }
  };
  // x goes to all decays after token `after` up to `last`: it is noted where it begins and where it ends.
  std::vector<Slope> begins(size((T + 1) * K)), ends = begins;
  const auto of_decays = [&](Index after, Index last, Index c, Real times, const Slope& x) {
    if (after >= last) return;
    begins[size((after + 1) * K + c)].add(times, x), ends[size((last + 1) * K + c)].add(times, x);
  };
  for (Index t = 0; t < T; ++t) {
    if (!before) pass(t);
    const Index last = before ? t - 1 : t;  // the last decay that t has met
    const Real* const q = &of.q[size(t * K)];
    const auto met = [&](Index m, Index c) {
      return before && m == t ? of.bonus[size(c)] : between[size((m + 1) * K + c)];
    };
    // The output as it is before it is multiplied, and the sum.
    std::vector<Real> out(size(V)), back(size(V));
    Real z = 0, read = 0, of_sum = 0;
    for (Index m = -1; m <= t; ++m)
      for (Index c = 0; c < K; ++c) {
        const Real x = q[c] * met(m, c);
        z += x * (m < 0 ? sum_before(c) : of.k[size(m * K + c)]);
        for (Index j = 0; j < V; ++j)
          out[size(j)] += x * (m < 0 ? state(c, j) : of.k[size(m * K + c)] * of.v[size(m * V + j)]);
      }
    const Real f = factor(t, z);
    for (Index j = 0; j < V; ++j) {
      out[size(j)] += of.skip * of.v[size(t * V + j)];
      read += comes.out[size(t * V + j)] * out[size(j)];
      back[size(j)] = f * comes.out[size(t * V + j)];
      to.skip.add(back[size(j)] * of.v[size(t * V + j)]);
      to.v[size(t * V + j)].add(of.skip * back[size(j)]);
    }
    if (uses_sum) {
      const Real step = 1e-6L * std::max(std::abs(z), Real{1e-3L});
      of_sum = read * (factor(t, z + step) - factor(t, z - step)) / (2 * step);
    }
    for (Index m = -1; m <= t; ++m)
      for (Index c = 0; c < K; ++c) {
        const Real d = met(m, c);
        Slope g;  // of q d k
        g.add(of_sum * (m < 0 ? sum_before(c) : 1));
        for (Index j = 0; j < V; ++j) {
          g.add(back[size(j)] * (m < 0 ? state(c, j) : of.v[size(m * V + j)]));
          if (m < 0)
            to.state[size(c * V + j)].add(q[c] * d * back[size(j)]);
          else
            to.v[size(m * V + j)].add(q[c] * d * of.k[size(m * K + c)] * back[size(j)]);
        }
        const Real k = m < 0 ? 1 : of.k[size(m * K + c)];
        to.q[size(t * K + c)].add(d * k, g);
        if (m < 0)
          to.sum[size(c)].add(q[c] * d * of_sum);
        else
          to.k[size(m * K + c)].add(d * q[c], g);
        if (before && m == t)
          to.bonus[size(c)].add(q[c] * k, g);
        else
          of_decays(m, last, c, d * q[c] * k, g);
      }
    if (before) pass(t);
    // Token t is written after its own decay: nothing stands between it and what comes.
    for (Index c = 0; c < K; ++c) between[size((t + 1) * K + c)] = 1;
  }
  for (Index m = -1; m < T; ++m)
    for (Index c = 0; c < K; ++c) {
      const Real d = between[size((m + 1) * K + c)];
      const Real k = m < 0 ? 1 : of.k[size(m * K + c)];
      Slope g;
      g.add(comes.sum.empty() ? 0 : comes.sum[size(c)] * (m < 0 ? sum_before(c) : 1));
      for (Index j = 0; j < V; ++j) {
        const Real x = comes.state[size(c * V + j)];
        g.add(x * (m < 0 ? state(c, j) : of.v[size(m * V + j)]));
        if (m < 0)
          to.state[size(c * V + j)].add(d * x);
        else
          to.v[size(m * V + j)].add(k * d * x);
      }
      if (m < 0)
        to.sum[size(c)].add(comes.sum.empty() ? 0 : d * comes.sum[size(c)]);
      else
        to.k[size(m * K + c)].add(d, g);
      of_decays(m, T - 1, c, d * k, g);
    }
  for (Index c = 0; c < K; ++c) {
    Slope now;
    for (Index i = c; i < T * K; i += K) {
      now.value += begins[size(i)].value - ends[size(i)].value;
      now.terms += begins[size(i)].terms - ends[size(i)].terms;
      to.log_decay[size(i)] = now;
    }
  }
  return to;
}

Real loss(const Head& of, const Comes& comes, const Factor& factor) {
  const Outputs all = recurrent(of);
  Real sum = 0;
  for (Index t = 0; t < of.tokens; ++t)
    for (Index j = 0; j < of.values; ++j)
      sum += comes.out[size(t * of.values + j)] * factor(t, all.sums[size(t)].value) *
             all.out[size(t * of.values + j)].value;
  for (std::size_t i = 0; i < comes.state.size(); ++i) sum += comes.state[i] * all.state[i].value;
  return sum;
}

}  // namespace mixers_test
