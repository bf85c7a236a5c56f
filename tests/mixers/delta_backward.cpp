// SPDX-License-Identifier: MIT
//
// Gradients of delta rules against their adjoint in long double, which is held to central differences of the
// recurrence.
#include "backward_call.hpp"
#include "gradient_oracle.hpp"
#include "support/bits.hpp"
#include "support/cases.hpp"
#include "support/catch.hpp"
#include "support/levels.hpp"

namespace mixers_test::delta_backward_cases {

std::vector<Entry> delta_rules(const mixers::GallerySetting& at) {
  std::vector<Entry> all = gallery(at);
  std::erase_if(all, [](const Entry& entry) { return !entry.mixer.recurrence().delta; });
  return all;
}

/// Gradients of a head, in its own terms.
struct DeltaGradient {
  std::vector<Real> q, k, v, log_decay, beta, removal, state;
};

/// The adjoint, from all states, each of which is kept.
DeltaGradient adjoint(const Head& of, const Comes& comes) {
  const Index K = of.keys, V = of.values;
  const bool removes = !of.removal.empty();
  const auto zeros = [](const auto& x) { return std::vector<Real>(x.size()); };
  DeltaGradient to{zeros(of.q),    zeros(of.k),       zeros(of.v), zeros(of.log_decay),
                   zeros(of.beta), zeros(of.removal), {}};
  std::vector<std::vector<Real>> states{of.state};
  states[0].resize(size(K * V));
  const auto decay = [&](Index t, Index c) { return std::exp(of.log_decay[size(t * K + c)]); };
  // What a token reads of the state before it, decayed or not, by its key or its removal vector.
  const auto reads = [&](Index t, Index j) {
    Real sum = 0;
    for (Index c = 0; c < K; ++c)
      sum += (removes ? of.removal[size(t * K + c)] : of.k[size(t * K + c)] * decay(t, c)) *
             states[size(t)][size(c * V + j)];
    return sum;
  };
  const auto writes = [&](Index t, Index j) {
    return removes ? of.v[size(t * V + j)]
                   : of.beta[size(t)] * (of.v[size(t * V + j)] - reads(t, j));
  };
  for (Index t = 0; t < of.tokens; ++t) {
    std::vector<Real> next(size(K * V));
    for (Index j = 0; j < V; ++j) {
      const Real read = reads(t, j), written = writes(t, j);
      for (Index c = 0; c < K; ++c) {
        const Index at = t * K + c;
        next[size(c * V + j)] = decay(t, c) * states[size(t)][size(c * V + j)] +
                                of.k[size(at)] * written -
                                (removes ? of.beta[size(at)] * of.removal[size(at)] * read : 0);
      }
    }
    states.push_back(next);
  }
  to.state = comes.state;
  std::vector<Real>& d = to.state;
  for (Index t = of.tokens; t-- > 0;) {
    const std::vector<Real>&before = states[size(t)], &after = states[size(t + 1)];
    std::vector<Real> d_before(size(K * V));
    for (Index j = 0; j < V; ++j) {
      const Real comes_out = comes.out[size(t * V + j)], read = reads(t, j), written = writes(t, j);
      Real of_written = 0, of_read = 0;
      for (Index c = 0; c < K; ++c) {
        const Index at = t * K + c, place = c * V + j;
        to.q[size(at)] += comes_out * after[size(place)];
        d[size(place)] += comes_out * of.q[size(at)];
        to.k[size(at)] += d[size(place)] * written;
        of_written += d[size(place)] * of.k[size(at)];
        if (!removes) continue;
        const Real erases = of.beta[size(at)] * of.removal[size(at)];
        of_read -= d[size(place)] * erases;
        to.beta[size(at)] -= d[size(place)] * read * of.removal[size(at)];
        to.removal[size(at)] -= d[size(place)] * read * of.beta[size(at)];
      }
      if (removes) {
        to.v[size(t * V + j)] = of_written;
      } else {
        to.beta[size(t)] += of_written * (of.v[size(t * V + j)] - read);
        to.v[size(t * V + j)] = of.beta[size(t)] * of_written;
        of_read = -of.beta[size(t)] * of_written;
      }
      for (Index c = 0; c < K; ++c) {
        const Index at = t * K + c, place = c * V + j;
        const Real a = decay(t, c), old = before[size(place)];
        if (removes) {
          to.removal[size(at)] += of_read * old;
          to.log_decay[size(at)] += d[size(place)] * a * old;
          d_before[size(place)] = a * d[size(place)] + of.removal[size(at)] * of_read;
        } else {
          const Real both = d[size(place)] + of.k[size(at)] * of_read;
          to.k[size(at)] += of_read * a * old;
          to.log_decay[size(at)] += both * a * old;
          d_before[size(place)] = a * both;
        }
      }
    }
    d = d_before;
  }
  return to;
}

Comes comes_of(const Backward& drawn, Index h) {
  const mixers::Shape& shape = drawn.call.shape();
  Comes comes;
  for (Index t = 0; t < drawn.call.tokens; ++t)
    for (Index j = 0; j < shape.value_dim; ++j) comes.out.push_back(drawn.d_out.view()(t, h, j));
  for (Index c = 0; c < shape.key_dim; ++c)
    for (Index j = 0; j < shape.value_dim; ++j)
      comes.state.push_back(drawn.d_state.matrices()(c, h, j));
  return comes;
}

/// What a call has to give, by the adjoint of each head, in the terms of the tensors.
class Wanted {
 public:
  explicit Wanted(const Backward& drawn) : call_(drawn.call) {
    for (Index h = 0; h < call_.shape().heads; ++h) {
      const Formula formula = call_.formula(h, drawn.before);
      heads_.push_back(adjoint(formula.head, comes_of(drawn, h)));
    }
  }

  /// Errors, over the greatest number of a gradient.
  void check(Backward& got, Real tolerance = 1e-5L) const {
    const mixers::Shape& shape = call_.shape();
    const mixers::Recurrence& of = call_.entry.mixer.recurrence();
    const Index K = shape.key_dim, V = shape.value_dim, group = shape.heads / shape.key_heads;
    const auto compare = [&](const char* what, const auto& view, const auto& wanted) {
      Real worst = 0, most = 0;
      for (Index t = 0; t < view.tokens; ++t)
        for (Index h = 0; h < view.heads; ++h)
          for (Index c = 0; c < view.width; ++c) {
            const Real value = wanted(t, h, c), error = std::abs(view(t, h, c) - value);
            most = std::max(most, std::abs(value));
            worst = std::isnan(error) ? HUGE_VALL : std::max(worst, error);
          }
      INFO("the gradient of " << what << ": " << static_cast<double>(worst / most));
      CHECK(worst <= tolerance * most + 1e-30L);
    };
    /// Of what the heads of a key share.
    const auto shared = [&](std::vector<Real> DeltaGradient::* of_head, Real scale) {
      return [=, this](Index t, Index g, Index c) {
        Real sum = 0;
        for (Index h = g * group; h < (g + 1) * group; ++h)
          sum += scale * (heads_[size(h)].*of_head)[size(t * K + c)];
        return sum;
      };
    };
    const auto own = [&](std::vector<Real> DeltaGradient::* of_head, Index width) {
      return [=, this](Index t, Index h, Index c) {
        return (heads_[size(h)].*of_head)[size(t * width + c)];
      };
    };
    compare("q", got.q.view(), shared(&DeltaGradient::q, static_cast<Real>(of.query_scale)));
    compare("k", got.k.view(), shared(&DeltaGradient::k, 1));
    compare("v", got.v.view(), own(&DeltaGradient::v, V));
    compare("beta", got.beta.view(), own(&DeltaGradient::beta, of.removal ? K : 1));
    if (of.removal) compare("removal", got.removal.view(), shared(&DeltaGradient::removal, 1));
    compare("the state", std::as_const(got.d_state).matrices(),
            [&](Index c, Index h, Index j) { return heads_[size(h)].state[size(c * V + j)]; });
    if (of.decays_by_token())
      compare("the decay", got.decay.view(), [&](Index t, Index h, Index c) {
        const std::vector<Real>& log = heads_[size(h)].log_decay;
        if (of.decay_width() == 1) {
          Real sum = 0;
          for (Index i = 0; i < K; ++i) sum += log[size(t * K + i)];
          return sum;
        }
        const Real x = call_.decay.view()(t, h, c), s = 1 / (1 + std::exp(-x));
        return log[size(t * K + c)] * (of.rule ? -std::exp(Real{-0.5L}) * s * (1 - s) : 1);
      });
  }

 private:
  const Call& call_;
  std::vector<DeltaGradient> heads_;
};

TEST_CASE("delta rules: the adjoint of the oracle is central differences of its recurrence",
          "[mixers]") {
  for (const Entry& entry : delta_rules({.heads = 2, .key_dim = 4, .value_dim = 4})) {
    INFO(entry.name);
    const Call call(entry, 6, 3);
    const Backward drawn(call, call.state(8));
    Head head = call.formula(1, drawn.before).head;
    const Comes comes = comes_of(drawn, 1);
    const DeltaGradient got = adjoint(head, comes);
    const auto differs = [&](std::vector<Real>& x, const std::vector<Real>& slopes) {
      REQUIRE(x.size() == slopes.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto plain = [](Index, Real) { return Real{1}; };
        const Real at = x[i], step = 1e-6L;
        x[i] = at + step;
        const Real more = loss(head, comes, plain);
        x[i] = at - step;
        const Real less = loss(head, comes, plain);
        x[i] = at;
        CHECK(std::abs((more - less) / (2 * step) - slopes[i]) <=
              1e-8L * (1 + std::abs(slopes[i])));
      }
    };
    differs(head.q, got.q), differs(head.k, got.k), differs(head.v, got.v);
    differs(head.log_decay, got.log_decay), differs(head.beta, got.beta);
    differs(head.removal, got.removal), differs(head.state, got.state);
  }
}

TEST_CASE("delta rules: gradients agree with the adjoint at every length, from and to any state",
          "[mixers]") {
  struct Widths {
    Index heads, keys, values;
  };
  posenc_test::Sample sample;
  for (const Widths& at : {Widths{2, 16, 16}, Widths{4, 20, 5}, Widths{1, 34, 1}})
    for (const Entry& entry :
         delta_rules({.heads = at.heads, .key_dim = at.keys, .value_dim = at.values}))
      for (const Index tokens : {1, 2, 15, 16, 17, 33, 130}) {
        if ((at.keys != 16 && tokens != 17) || !sample.next()) continue;
        INFO(entry.name << ", " << tokens << " tokens of [" << at.keys << ", " << at.values << "]");
        const Call call(entry, tokens, static_cast<unsigned>(7 * tokens));
        Backward backward(call, call.state(5));
        const Wanted wanted(backward);
        backward.run();
        wanted.check(backward);
      }
  posenc_test::at_every_level([] {
    for (const Entry& entry : delta_rules({.heads = 2, .key_dim = 24, .value_dim = 40})) {
      const Call call(entry, 40, 3);
      Backward backward(call, call.state(5));
      const Wanted wanted(backward);
      backward.run();
      wanted.check(backward);
    }
  });
}

TEST_CASE("delta rules: decays of 1 - 2^-16 and of 0, and a beta of 0 and 1", "[mixers]") {
  for (const Entry& entry : delta_rules({.heads = 2, .key_dim = 16, .value_dim = 8})) {
    if (entry.name != "GatedDeltaNet" && entry.name != "KDA" && entry.name != "RWKV7, log")
      continue;
    INFO(entry.name);
    Call call(entry, 70, 9);
    const TensorView<float> x = call.decay.view(), beta = call.beta.view();
    for (Index t = 0; t < 70; ++t)
      for (Index h = 0; h < x.heads; ++h) {
        for (Index c = 0; c < x.width; ++c)
          x(t, h, c) = (t + c) % 9 == 0 ? -20.0F : t % 3 == 0 ? -0.3F : -0x1p-16F;
        for (Index c = 0; c < beta.width; ++c) beta(t, h, c) = static_cast<float>((t + c) % 3) / 2;
      }
    Backward backward(call, call.state(5));
    const Wanted wanted(backward);
    backward.run();
    wanted.check(backward);
    if (entry.name == "RWKV7, log") continue;  // what is removed passes a decay of 0
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c) x(20, h, c) = -HUGE_VALF;
    Backward cut(call, call.state(5)), other(call, call.state(5));
    cut.run();
    for (const float one : cut.all_numbers()) CHECK(std::isfinite(one));
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c) CHECK(cut.decay.view()(20, h, c) == 0);
    for (Index h = 0; h < x.heads; ++h) other.d_out.view()(25, h, 0) += 1;
    other.run();
    CHECK(posenc_test::same_bits(numbers(other.k.view().slice(0, 20)),
                                 numbers(cut.k.view().slice(0, 20))));
    CHECK_FALSE(posenc_test::same_bits(numbers(other.k.view().slice(20, 6)),
                                       numbers(cut.k.view().slice(20, 6))));
  }
}

TEST_CASE("delta rules: gradients of a sequence in pieces are those of the sequence", "[mixers]") {
  for (const Entry& entry : delta_rules({.heads = 2, .key_dim = 20, .value_dim = 20})) {
    INFO(entry.name);
    const Call call(entry, 90, 11);
    Backward pieces(call, call.state(2));
    const Wanted wanted(pieces);
    pieces.run_in_pieces({0, 16, 47, 47, 90});
    wanted.check(pieces);
  }
}

/// A delta rule with decays of its own, constant ones, and outputs that are multiplied.
struct Own {
  static constexpr std::string_view name = "Own";
  std::vector<double> log_decay{-0.1, -0.7};
  void check(Problems&) const {}
  [[nodiscard]] mixers::Recurrence recurrence() const {
    return {.shape = {2, 2, 4, 4},
            .decay = mixers::Decay::head,
            .log_decay = log_decay,
            .delta = true,
            .normaliser = [](const mixers::Recurrence&, Index, Position token, float) {
              return 1 / static_cast<float>(token + 1);
            }};
  }
};
TEST_CASE("delta rules: constant decays are learned, and outputs may be multiplied", "[mixers]") {
  const auto entry_of = [](const Own& own) {
    return Entry{"Own", {"Own", "", 0, 0}, mixers::Mixer(own), [own](const Raw& raw) {
                   Formula to = delta_formula(1, raw);
                   raw.decays(to.head, [&](Index, Index) {
                     return static_cast<Real>(own.log_decay[size(raw.head)]);
                   });
                   to.factor = [](Index token, Real) { return 1 / static_cast<Real>(token + 1); };
                   return to;
                 }};
  };
  const Entry entry = entry_of({});
  const Call call(entry, 40, 3);
  Backward backward(call, call.state(5));
  const auto loss_of = [&](const Own& own) {
    const Entry other = entry_of(own);
    Real sum = 0;
    for (Index h = 0; h < 2; ++h) {
      const Formula formula = Call(other, 40, 3).formula(h, backward.before);
      sum += loss(formula.head, comes_of(backward, h), formula.factor);
    }
    return sum;
  };
  std::vector<Real> slopes;
  for (std::size_t h = 0; h < 2; ++h) {
    Own more, less;
    more.log_decay[h] += 1e-6, less.log_decay[h] -= 1e-6;
    slopes.push_back((loss_of(more) - loss_of(less)) / 2e-6L);
  }
  backward.run();
  for (std::size_t h = 0; h < 2; ++h)
    CHECK(std::abs(static_cast<Real>(backward.learned.log_decay[h]) - slopes[h]) <=
          1e-5L * (1 + std::abs(slopes[h])));
}

}  // namespace mixers_test::delta_backward_cases
