// SPDX-License-Identifier: MIT
//
// A call of a mixer with random inputs, and what its formula makes of each head. A new mixer has one formula here.
#pragma once

#include "oracle.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

#include <posenc/mixers/gallery.hpp>

#include <algorithm>
#include <functional>
#include <string>

namespace mixers_test {

using namespace posenc;
using posenc_test::Random;
using posenc_test::Tensor;

/// What stands in the tensors of a call, for one head.
struct Raw {
  Index head, tokens;
  TensorView<const float> q, k, v, decay, beta, removal;
  Index key_head;

  /// Tokens as rows of `width` numbers, each changed by f(token, channel, number).
  template <class F>
  [[nodiscard]] std::vector<Real> rows(const TensorView<const float>& x, Index h,
                                       const F& f) const {
    std::vector<Real> all;
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < x.width; ++c) all.push_back(f(t, c, static_cast<Real>(x(t, h, c))));
    return all;
  }
  [[nodiscard]] Head plain(Real scale) const {
    const auto same = [](Index, Index, Real x) { return x; };
    Head to{.tokens = tokens, .keys = q.width, .values = v.width};
    to.q = rows(q, key_head, [=](Index, Index, Real x) { return scale * x; });
    to.k = rows(k, key_head, same);
    to.v = rows(v, head, same);
    to.log_decay.assign(size(tokens * q.width), 0);
    return to;
  }
  /// The log decay of each token and channel: g(token, channel).
  template <class G>
  void decays(Head& to, const G& g) const {
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < q.width; ++c) to.log_decay[size(t * q.width + c)] = g(t, c);
  }
};

inline Real softplus(Real x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

// --- What the papers say of each mixer, and by what outputs are multiplied -------------------------------------------

struct Formula {
  Head head;
  /// From the outputs as they are, the token's number and <q, z>: the factor of a row.
  std::function<Real(Index token, Real sum)> factor = [](Index, Real) { return Real{1}; };
  bool divides_by_sum = false;
};

inline Formula formula(const mixers::LinearAttention& of, const Raw& raw) {
  Formula to{raw.plain(static_cast<Real>(of.scale))};
  if (of.normalise) {
    to.factor = [eps = of.eps](Index, Real sum) { return 1 / (sum + static_cast<Real>(eps)); };
    to.divides_by_sum = true;
  }
  return to;
}

inline Formula formula(const mixers::RetNet& of, const Raw& raw) {
  Formula to{raw.plain(1 / std::sqrt(static_cast<Real>(of.key_dim)))};
  const Real gamma = 1 - std::exp2(static_cast<Real>(-5 - raw.head));
  raw.decays(to.head, [=](Index, Index) { return std::log(gamma); });
  if (of.normaliser != mixers::Retention::plain)
    to.factor = [gamma, absolute = of.normaliser == mixers::Retention::absolute](Index token,
                                                                                 Real sum) {
      Real row = 0, power = 1;
      for (Index i = 0; i <= token; ++i, power *= gamma) row += power;
      return 1 / std::sqrt(row) /
             (absolute ? std::max(std::abs(sum) / std::sqrt(row), Real{1}) : 1);
    };
  to.divides_by_sum = of.normaliser == mixers::Retention::absolute;
  return to;
}

inline Formula formula(const mixers::GLA& of, const Raw& raw) {
  Formula to{raw.plain(of.scale != 0 ? static_cast<Real>(of.scale)
                                     : 1 / std::sqrt(static_cast<Real>(of.key_dim)))};
  raw.decays(to.head, [&](Index t, Index c) {
    const Real x = raw.decay(t, raw.head, c);
    return of.logits ? -softplus(-x) / static_cast<Real>(of.gate_logit_normalizer) : x;
  });
  return to;
}

inline Formula formula(const mixers::Mamba2& of, const Raw& raw) {
  Formula to{raw.plain(1)};
  const std::size_t h = size(raw.head);
  const auto delta = [&](Index t) {
    const Real dt = softplus(static_cast<Real>(raw.decay(t, raw.head, 0)) + of.dt_bias[h]);
    return std::clamp(dt, static_cast<Real>(of.dt_min), static_cast<Real>(of.dt_max));
  };
  raw.decays(to.head,
             [&](Index t, Index) { return -std::exp(static_cast<Real>(of.A_log[h])) * delta(t); });
  for (Index i = 0; i < std::ssize(to.head.k); ++i) to.head.k[size(i)] *= delta(i / of.d_state);
  if (!of.D.empty()) to.head.skip = of.D[h];
  return to;
}

inline void read_bonus(Head& to, const std::vector<float>& u, Index head) {
  for (Index c = 0; c < to.keys; ++c) to.bonus.push_back(u[size(head * to.keys + c)]);
}
inline Formula formula(const mixers::RWKV5& of, const Raw& raw) {
  Formula to{raw.plain(1)};
  raw.decays(to.head, [&](Index, Index c) {
    return -std::exp(static_cast<Real>(of.time_decay[size(raw.head * of.head_size + c)]));
  });
  read_bonus(to.head, of.time_faaaa, raw.head);
  return to;
}
inline Formula formula(const mixers::RWKV6& of, const Raw& raw) {
  Formula to{raw.plain(1)};
  raw.decays(to.head, [&](Index t, Index c) {
    return -std::exp(static_cast<Real>(raw.decay(t, raw.head, c)));
  });
  read_bonus(to.head, of.time_faaaa, raw.head);
  return to;
}

inline Formula delta_formula(double scale, const Raw& raw) {
  Formula to{raw.plain(scale != 0 ? static_cast<Real>(scale)
                                  : 1 / std::sqrt(static_cast<Real>(raw.q.width)))};
  for (Index t = 0; t < raw.tokens; ++t) to.head.beta.push_back(raw.beta(t, raw.head, 0));
  return to;
}
inline Formula formula(const mixers::DeltaNet& of, const Raw& raw) {
  return delta_formula(of.scale, raw);
}
inline Formula formula(const mixers::GatedDeltaNet& of, const Raw& raw) {
  Formula to = delta_formula(of.scale, raw);
  raw.decays(to.head, [&](Index t, Index) { return static_cast<Real>(raw.decay(t, raw.head, 0)); });
  return to;
}
inline Formula formula(const mixers::KDA& of, const Raw& raw) {
  Formula to = delta_formula(of.scale, raw);
  raw.decays(to.head,
             [&](Index t, Index c) { return static_cast<Real>(raw.decay(t, raw.head, c)); });
  return to;
}

inline Formula formula(const mixers::RWKV7& of, const Raw& raw) {
  Formula to{raw.plain(1)};
  raw.decays(to.head, [&](Index t, Index c) {
    const Real x = raw.decay(t, raw.head, c);
    return of.logits ? -std::exp(Real{-0.5L}) / (1 + std::exp(-x)) : x;
  });
  const auto same = [](Index, Index, Real x) { return x; };
  to.head.beta = raw.rows(raw.beta, raw.head, same);
  to.head.removal = raw.rows(raw.removal, raw.key_head, same);
  return to;
}

// --- Calls ----------------------------------------------------------------------------------------------------------

/// A mixer of the gallery with its type forgotten, so that tests are compiled once for all.
struct Entry {
  std::string name;
  mixers::GalleryEntry info;
  mixers::Mixer mixer;
  std::function<Formula(const Raw&)> formula;
};

inline std::vector<Entry> gallery(const mixers::GallerySetting& at) {
  std::vector<Entry> all;
  mixers::for_each_in_gallery(at, [&](const mixers::GalleryEntry& info, const auto& mixer) {
    all.push_back({std::string(info.name), info, mixers::Mixer(mixer),
                   [mixer](const Raw& raw) { return mixers_test::formula(mixer, raw); }});
  });
  return all;
}

/// Random inputs of so many tokens.
struct Call {
  const Entry& entry;
  Index tokens;
  Tensor<float> q, k, v, decay, beta, removal;

  Call(const Entry& of, Index n, unsigned seed,
       Tensor<float>::Memory memory = Tensor<float>::token_major)
      : entry(of), tokens(n), q(n, shape().key_heads, shape().key_dim, memory),
        k(n, shape().key_heads, shape().key_dim, memory),
        v(n, shape().heads, shape().value_dim, memory),
        decay(n, shape().heads, std::max<Index>(1, of.mixer.recurrence().decay_width()), memory),
        beta(n, shape().heads, removes() ? shape().key_dim : 1, memory),
        removal(n, shape().key_heads, shape().key_dim, memory) {
    const double low = of.info.is_positive ? 0.125 : -1;
    draw(q.view(), seed, low, 1), draw(k.view(), seed + 1, low, 1), draw(v.view(), seed + 2, -1, 1);
    draw(decay.view(), seed + 3, of.info.decay_low, of.info.decay_high);
    draw(beta.view(), seed + 4, 0, 1);
    draw(removal.view(), seed + 5, -1, 1);
    if (!of.mixer.recurrence().delta) return;
    const TensorView<float> x = removes() ? removal.view() : k.view();
    for (Index t = 0; t < n; ++t)  // of length 1
      for (Index h = 0; h < shape().key_heads; ++h) {
        double squares = 0;
        for (Index c = 0; c < shape().key_dim; ++c) squares += x(t, h, c) * x(t, h, c);
        for (Index c = 0; c < shape().key_dim; ++c)
          x(t, h, c) = static_cast<float>(x(t, h, c) / std::sqrt(squares));
      }
  }

  [[nodiscard]] const mixers::Shape& shape() const { return entry.mixer.shape(); }
  [[nodiscard]] bool removes() const { return entry.mixer.recurrence().removal; }
  [[nodiscard]] mixers::Inputs inputs(Index first, Index count) const {
    mixers::Inputs in{.q = q.view().slice(first, count),
                      .k = k.view().slice(first, count),
                      .v = v.view().slice(first, count)};
    if (entry.mixer.recurrence().decays_by_token()) in.decay = decay.view().slice(first, count);
    if (entry.mixer.recurrence().delta) in.beta = beta.view().slice(first, count);
    if (removes()) in.removal = removal.view().slice(first, count);
    return in;
  }
  [[nodiscard]] mixers::Inputs inputs() const { return inputs(0, tokens); }
  [[nodiscard]] Tensor<float> outputs() const { return {tokens, shape().heads, shape().value_dim}; }

  /// A state of random numbers, as of a sequence that has been somewhere.
  [[nodiscard]] mixers::State state(unsigned seed) const {
    mixers::State state(entry.mixer);
    draw(state.matrices(), seed, -1, 1);
    draw(state.sums(), seed + 1, entry.info.is_positive ? 1 : -1, 2);
    return state;
  }

  /// What the formula says of a head.
  [[nodiscard]] Formula formula(Index head, const mixers::State& state) const {
    Formula to = entry.formula(
        {head, tokens, q, k, v, decay, beta, removal, head / (shape().heads / shape().key_heads)});
    auto& mutable_state = const_cast<mixers::State&>(state);
    for (Index c = 0; c < shape().key_dim; ++c) {
      for (Index j = 0; j < shape().value_dim; ++j)
        to.head.state.push_back(state.matrices()(c, head, j));
      if (state.keeps_sum()) to.head.sum.push_back(mutable_state.sums()(0, head, c));
    }
    return to;
  }

  static void draw(const TensorView<float>& x, unsigned seed, double low, double high) {
    Random random(seed);
    for (Index t = 0; t < x.tokens; ++t)
      for (Index h = 0; h < x.heads; ++h)
        for (Index c = 0; c < x.width; ++c) x(t, h, c) = static_cast<float>(random.real(low, high));
  }
};

/// Token after token.
inline void steps(const Call& call, const TensorView<float>& out, mixers::State& state,
                  const mixers::Options& options = {}) {
  for (Index t = 0; t < call.tokens; ++t)
    mixers::step(call.inputs(t, 1), out.slice(t, 1), call.entry.mixer, state, options);
}

/// What the formula says of a call from a state, for all heads.
class Expected {
 public:
  Expected(const Call& call, const mixers::State& before) : call_(call), before_(before) {
    for (Index h = 0; h < call.shape().heads; ++h) {
      formulas_.push_back(call.formula(h, before));
      outputs_.push_back(recurrent(formulas_.back().head));
    }
  }

  /// The greatest error of outputs and states over what rounding allows: at most 1. Floats were rounded once for so many
  /// tokens.
  [[nodiscard]] double worst_ratio(const TensorView<const float>& out, const mixers::State& after,
                                   Index tokens_of_rounding) const {
    double worst = 0;
    const auto compare = [&](Real got, Real wanted, Real bound) {
      const Real ratio = got == wanted ? 0 : std::abs(got - wanted) / bound;
      worst = std::isnan(ratio) ? HUGE_VAL : std::max(worst, static_cast<double>(ratio));
    };
    const Index K = call_.shape().key_dim, V = call_.shape().value_dim;
    constexpr Real least = 1e-37L;  // where floats end
    // The delta rule computes what it writes from what was written, whose errors come back, though they never grow: a
    // key of length 1 erases no more than there is.
    const Real again = call_.entry.mixer.recurrence().delta ? 16 : 1;
    for (Index h = 0; h < call_.shape().heads; ++h) {
      const Formula& formula = formulas_[size(h)];
      const Outputs& wanted = outputs_[size(h)];
      for (Index t = 0; t < call_.tokens; ++t) {
        const Sum& sum = wanted.sums[size(t)];
        const Real factor = formula.factor(before_.tokens() + t, sum.value);
        const Real unsure =
            0x1p-21L +
            (formula.divides_by_sum ? sum.bound(K, tokens_of_rounding) * std::abs(factor) : 0);
        for (Index j = 0; j < V; ++j) {
          const Sum& x = wanted.out[size(t * V + j)];
          compare(out(t, h, j), x.value * factor,
                  std::abs(factor) *
                          (again * x.bound(K, tokens_of_rounding) + std::abs(x.value) * unsure) +
                      least);
        }
      }
      for (Index c = 0; c < K; ++c)
        for (Index j = 0; j < V; ++j) {
          const Sum& x = wanted.state[size(c * V + j)];
          compare(after.matrices()(c, h, j), x.value,
                  again * x.bound(K, tokens_of_rounding) + least);
        }
    }
    return worst;
  }

 private:
  const Call& call_;
  const mixers::State& before_;
  std::vector<Formula> formulas_;
  std::vector<Outputs> outputs_;
};

/// x in 16 bits, and x as those 16 bits say.
template <class T>
std::vector<T> rounded(const TensorView<float>& x) {
  std::vector<T> all;
  for (Index t = 0; t < x.tokens; ++t)
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c) {
        all.push_back(narrow<T>(x(t, h, c)));
        x(t, h, c) = widen(all.back());
      }
  return all;
}

}  // namespace mixers_test
