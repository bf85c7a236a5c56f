// SPDX-License-Identifier: MIT
//
// Gradients of the selective scan against an adjoint in long double, which is held to central differences.
#include "oracle.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"
#include "support/cases.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/guards.hpp"
#include "support/levels.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

#include <posenc/mixers/scan_backward.hpp>

namespace mixers_test::scan_backward_cases {

using namespace posenc;
using posenc_test::numbers;
using posenc_test::Random;
using posenc_test::Tensor;

/// Numbers of one call, or their gradients; [tokens][width] each.
struct Numbers {
  std::vector<Real> u, dt, b, c, z, state, rate, bias, skip;  // the state and A_log: [channel][n]

  template <class F>
  static void each(Numbers& x, const F& f) {
    f("u", x.u), f("dt", x.dt), f("B", x.b), f("C", x.c), f("z", x.z), f("state", x.state);
    f("A_log", x.rate), f("dt_bias", x.bias), f("D", x.skip);
  }
};

struct Scan {
  Index tokens, channels, states;
  bool softplus;
  std::vector<Real> d_out, d_state;

  [[nodiscard]] Real delta(const Numbers& x, Index t, Index c) const {
    const Real in = x.dt[size(t * channels + c)] + x.bias[size(c)];
    return softplus ? std::max(in, Real{0}) + std::log1p(std::exp(-std::abs(in))) : in;
  }
  [[nodiscard]] Real loss(const Numbers& x) const {
    Real sum = 0;
    for (Index c = 0; c < channels; ++c) {
      std::vector<Real> h(x.state.begin() + c * states, x.state.begin() + (c + 1) * states);
      for (Index t = 0; t < tokens; ++t) {
        const Real step = delta(x, t, c), u = x.u[size(t * channels + c)];
        Real y = x.skip[size(c)] * u;
        for (Index n = 0; n < states; ++n) {
          Real& one = h[size(n)];
          one = std::exp(-step * std::exp(x.rate[size(c * states + n)])) * one +
                step * x.b[size(t * states + n)] * u;
          y += x.c[size(t * states + n)] * one;
        }
        if (!x.z.empty()) {
          const Real z = x.z[size(t * channels + c)];
          y *= z / (1 + std::exp(-z));
        }
        sum += y * d_out[size(t * channels + c)];
      }
      for (Index n = 0; n < states; ++n) sum += h[size(n)] * d_state[size(c * states + n)];
    }
    return sum;
  }

  /// The gradient, and the sizes of its terms.
  void gradient(const Numbers& x, Numbers& to, Numbers& terms) const {
    to = x;
    Numbers::each(to, [](const char*, std::vector<Real>& all) { std::ranges::fill(all, 0); });
    terms = to;
    const auto add = [](std::vector<Real>& value, std::vector<Real>& size_of, Index at, Real one,
                        Real most) { value[size(at)] += one, size_of[size(at)] += most; };
    for (Index c = 0; c < channels; ++c) {
      // States before each token, and the sizes of their terms.
      std::vector<std::vector<Real>> h{
          {x.state.begin() + c * states, x.state.begin() + (c + 1) * states}};
      std::vector<std::vector<Real>> sizes = h;
      for (Real& one : sizes[0]) one = std::abs(one);
      for (Index t = 0; t < tokens; ++t) {
        h.push_back(h.back()), sizes.push_back(sizes.back());
        for (Index n = 0; n < states; ++n) {
          const Real step = delta(x, t, c);
          const Real decay = std::exp(-step * std::exp(x.rate[size(c * states + n)]));
          const Real in = step * x.b[size(t * states + n)] * x.u[size(t * channels + c)];
          h.back()[size(n)] = decay * h[size(t)][size(n)] + in;
          sizes.back()[size(n)] = decay * sizes[size(t)][size(n)] + std::abs(in);
        }
      }
      std::vector<Real> dh(d_state.begin() + c * states, d_state.begin() + (c + 1) * states), most;
      for (const Real one : dh) most.push_back(std::abs(one));
      for (Index t = tokens; t-- > 0;) {
        const Index at = t * channels + c;
        const Real step = delta(x, t, c), u = x.u[size(at)];
        Real dy = d_out[size(at)], y = x.skip[size(c)] * u, y_terms = std::abs(y);
        for (Index n = 0; n < states; ++n) {
          const Real one = x.c[size(t * states + n)] * h[size(t + 1)][size(n)];
          y += one;
          y_terms += std::abs(x.c[size(t * states + n)]) * sizes[size(t + 1)][size(n)];
        }
        if (!x.z.empty()) {
          const Real z = x.z[size(at)], open = 1 / (1 + std::exp(-z));
          const Real slope = open * (1 + z * (1 - open));
          add(to.z, terms.z, at, dy * y * slope, std::abs(dy * slope) * y_terms);
          dy *= z * open;
        }
        add(to.skip, terms.skip, c, dy * u, std::abs(dy * u));
        add(to.u, terms.u, at, dy * x.skip[size(c)], std::abs(dy * x.skip[size(c)]));
        Real d_step = 0, step_terms = 0;
        for (Index n = 0; n < states; ++n) {
          const Real b = x.b[size(t * states + n)], a = -std::exp(x.rate[size(c * states + n)]);
          const Real decay = std::exp(step * a), old = h[size(t)][size(n)],
                     old_size = sizes[size(t)][size(n)];
          dh[size(n)] += dy * x.c[size(t * states + n)];
          most[size(n)] += std::abs(dy * x.c[size(t * states + n)]);
          const Real g = dh[size(n)], size_of = most[size(n)];
          add(to.c, terms.c, t * states + n, dy * h[size(t + 1)][size(n)],
              std::abs(dy) * sizes[size(t + 1)][size(n)]);
          add(to.b, terms.b, t * states + n, g * step * u, std::abs(size_of * step * u));
          add(to.u, terms.u, at, g * step * b, std::abs(size_of * step * b));
          add(to.rate, terms.rate, c * states + n, g * decay * old * step * a,
              std::abs(size_of * decay * old_size * step * a));
          d_step += g * (decay * old * a + b * u);
          step_terms += size_of * (std::abs(decay * old_size * a) + std::abs(b * u));
          dh[size(n)] *= decay, most[size(n)] *= decay;
        }
        const Real in = x.dt[size(at)] + x.bias[size(c)];
        const Real slope = softplus ? 1 / (1 + std::exp(-in)) : 1;
        add(to.dt, terms.dt, at, d_step * slope, step_terms * slope);
        add(to.bias, terms.bias, c, d_step * slope, step_terms * slope);
      }
      for (Index n = 0; n < states; ++n)
        add(to.state, terms.state, c * states + n, dh[size(n)], most[size(n)]);
    }
  }
};

/// A call with random numbers.
struct Call {
  Index tokens, channels, states;
  bool gated;
  mixers::Mamba mamba;
  mixers::SelectiveScan scan;
  Tensor<float> u, dt, b, c, z, d_out, du, d_dt, db, dc, dz;
  mixers::State before, d_state;
  mixers::MambaGradients learned;

  static mixers::Mamba drawn(Index channels, Index states, bool softplus) {
    mixers::Mamba mamba{.d_inner = channels, .d_state = states, .softplus = softplus};
    Random random(3);
    for (Index i = 0; i < channels * states; ++i)
      mamba.A_log.push_back(static_cast<float>(random.real(-3, 2)));
    for (Index i = 0; i < channels; ++i) {
      mamba.dt_bias.push_back(static_cast<float>(random.real(-1, 1) + (softplus ? 0 : 2)));
      mamba.D.push_back(static_cast<float>(random.real(-1, 1)));
    }
    return mamba;
  }
  Call(Index n, Index width, Index states_, bool gated_, bool softplus,
       Tensor<float>::Memory memory = Tensor<float>::token_major)
      : tokens(n), channels(width), states(states_), gated(gated_),
        mamba(drawn(width, states_, softplus)), scan(mamba), u(n, 1, width, memory),
        dt(n, 1, width, memory), b(n, 1, states_, memory), c(n, 1, states_, memory),
        z(n, 1, width, memory), d_out(n, 1, width, memory), du(n, 1, width, memory),
        d_dt(n, 1, width, memory), db(n, 1, states_, memory), dc(n, 1, states_, memory),
        dz(n, 1, width, memory), before(scan.state()), d_state(before), learned(scan) {
    unsigned seed = 10;
    for (Tensor<float>* const one : {&u, &b, &c, &z, &d_out}) one->fill(Random(seed++));
    dt.fill(Random(77), 1.25);
    fill(before, 5), fill(d_state, 6);
  }
  void fill(mixers::State& state, unsigned seed) const {
    Random random(seed);
    for (Index ch = 0; ch < channels; ++ch)
      for (Index n = 0; n < states; ++n)
        state.matrices()(n, ch / 16, ch % 16) = static_cast<float>(random.real(-1, 1));
  }
  [[nodiscard]] mixers::ScanInputs inputs(Index first, Index count) const {
    mixers::ScanInputs in{.u = u.view().slice(first, count),
                          .dt = dt.view().slice(first, count),
                          .B = b.view().slice(first, count),
                          .C = c.view().slice(first, count)};
    if (gated) in.z = z.view().slice(first, count);
    return in;
  }
  [[nodiscard]] mixers::ScanGradients to(Index first, Index count) {
    mixers::ScanGradients all{.u = du.view().slice(first, count),
                              .dt = d_dt.view().slice(first, count),
                              .B = db.view().slice(first, count),
                              .C = dc.view().slice(first, count),
                              .learned = &learned};
    if (gated) all.z = dz.view().slice(first, count);
    return all;
  }
  void run(const mixers::Options& options = {}) {
    mixers::backward(inputs(0, tokens), d_out.view(), before, d_state, to(0, tokens), scan,
                     options);
  }
  [[nodiscard]] std::vector<float> of_state(const mixers::State& state) const {
    std::vector<float> all;
    for (Index ch = 0; ch < channels; ++ch)
      for (Index n = 0; n < states; ++n) all.push_back(state.matrices()(n, ch / 16, ch % 16));
    return all;
  }
  static std::vector<Real> reals(const std::vector<float>& x) { return {x.begin(), x.end()}; }
  [[nodiscard]] Numbers numbers_in() const {
    return {reals(numbers(u)),
            reals(numbers(dt)),
            reals(numbers(b)),
            reals(numbers(c)),
            gated ? reals(numbers(z)) : std::vector<Real>(),
            reals(of_state(before)),
            reals(mamba.A_log),
            reals(mamba.dt_bias),
            reals(mamba.D)};
  }
  [[nodiscard]] Scan formula() const {
    return {
        tokens, channels, states, mamba.softplus, reals(numbers(d_out)), reals(of_state(d_state))};
  }
  [[nodiscard]] std::vector<float> results() {
    std::vector<float> all;
    for (const Tensor<float>* const x : {&du, &d_dt, &db, &dc, gated ? &dz : &du}) {
      const std::vector<float> some = numbers(*x);
      all.insert(all.end(), some.begin(), some.end());
    }
    for (const float x : of_state(d_state)) all.push_back(x);
    for (const auto* x : {&learned.A_log, &learned.dt_bias, &learned.D})
      for (const double one : *x) all.push_back(static_cast<float>(one));
    return all;
  }
};

/// Runs, and compares with the adjoint from before.
void check(Call& call) {
  const Numbers x = call.numbers_in();
  const Scan formula = call.formula();
  Numbers wanted, terms;
  formula.gradient(x, wanted, terms);
  call.run();
  const auto compare = [&](const char* what, const auto& got, const std::vector<Real>& value,
                           const std::vector<Real>& size_of) {
    REQUIRE(std::size(got) == value.size());
    Real worst = 0;
    for (std::size_t i = 0; i < value.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<Real>(got[i]) - value[i]) /
                                  (size_of[i] * 0x1p-24L * 400 + 1e-30L));
    INFO("the gradient of " << what);
    CHECK(worst <= 1);
  };
  compare("u", numbers(call.du), wanted.u, terms.u);
  compare("dt", numbers(call.d_dt), wanted.dt, terms.dt);
  compare("B", numbers(call.db), wanted.b, terms.b);
  compare("C", numbers(call.dc), wanted.c, terms.c);
  if (call.gated) compare("z", numbers(call.dz), wanted.z, terms.z);
  compare("the state", call.of_state(call.d_state), wanted.state, terms.state);
  compare("A_log", call.learned.A_log, wanted.rate, terms.rate);
  compare("dt_bias", call.learned.dt_bias, wanted.bias, terms.bias);
  compare("D", call.learned.D, wanted.skip, terms.skip);
}

TEST_CASE("scan: the adjoint of the oracle is central differences of its loss", "[mixers]") {
  for (const bool gated : {false, true})
    for (const bool softplus : {false, true}) {
      const Call call(5, 3, 4, gated, softplus);
      const Scan formula = call.formula();
      Numbers x = call.numbers_in(), wanted, terms;
      formula.gradient(x, wanted, terms);
      std::vector<std::vector<Real>*> slopes;
      Numbers::each(wanted, [&](const char*, std::vector<Real>& all) { slopes.push_back(&all); });
      std::size_t which = 0;
      Numbers::each(x, [&](const char* what, std::vector<Real>& all) {
        INFO(what);
        const std::vector<Real>& of = *slopes[which++];
        for (std::size_t i = 0; i < all.size(); ++i) {
          const Real at = all[i];
          all[i] = at + 1e-6L;
          const Real more = formula.loss(x);
          all[i] = at - 1e-6L;
          const Real slope = (more - formula.loss(x)) / 2e-6L;
          all[i] = at;
          CHECK(std::abs(of[i] - slope) <= 1e-9L * (1 + std::abs(slope)));
        }
      });
    }
}

TEST_CASE("scan: gradients agree with the adjoint at every length", "[mixers]") {
  posenc_test::Sample sample;
  for (const Index channels : {1, 16, 20, 150})
    for (const Index states : {1, 4, 16, 17})
      for (const Index tokens : {1, 2, 15, 16, 17, 40})
        for (const bool gated : {false, true}) {
          if (!sample.next()) continue;
          INFO(tokens << " tokens of " << channels << " channels, " << states << " states");
          Call call(tokens, channels, states, gated, channels != 20);
          check(call);
        }
  posenc_test::at_every_level([] {
    Call call(40, 40, 5, true, true);
    check(call);
  });
}

TEST_CASE("scan: gradients do not depend on strides, threads, pieces or memory", "[mixers]") {
  constexpr Index T = 70, E = 300, N = 5;
  Call plain(T, E, N, true, true);
  plain.run();
  const std::vector<float> wanted = plain.results();
  for (const auto memory : {Tensor<float>::head_major, Tensor<float>::padded}) {
    Call apart(T, E, N, true, true, memory);
    apart.run();
    CHECK(posenc_test::same_bits(apart.results(), wanted));
  }
  for (const Index threads : {2, 3, 7}) {
    const AnyExecutor executor(posenc_test::Backwards{threads});
    const posenc_test::Workspace workspace(
        mixers::backward_workspace_bytes(plain.scan, T, T, 1, executor));
    Call call(T, E, N, true, true);
    const std::size_t before = posenc_test::allocations();
    call.run({.executor = executor, .workspace = workspace.memory()});
    CHECK(posenc_test::allocations() == before);
    CHECK(workspace.guards_are_whole());
    CHECK(posenc_test::same_bits(call.results(), wanted));
  }
  // In pieces, the last one first; cut between chunks, so the states are the same bits.
  Call pieces(T, E, N, true, true);
  mixers::State middle = pieces.before;
  Tensor<float> out(32, 1, E);
  mixers::scan(pieces.inputs(0, 32), out.view(), pieces.scan, middle);
  mixers::backward(pieces.inputs(32, T - 32), pieces.d_out.view().slice(32, T - 32), middle,
                   pieces.d_state, pieces.to(32, T - 32), pieces.scan);
  mixers::backward(pieces.inputs(0, 32), pieces.d_out.view().slice(0, 32), pieces.before,
                   pieces.d_state, pieces.to(0, 32), pieces.scan);
  CHECK(posenc_test::same_bits(numbers(pieces.du), numbers(plain.du)));
  CHECK(posenc_test::same_bits(numbers(pieces.db), numbers(plain.db)));
  CHECK(posenc_test::same_bits(pieces.of_state(pieces.d_state), plain.of_state(plain.d_state)));
  // Sequences of a batch, each as it is alone.
  Call batch(T, E, N, true, true), alone(T, E, N, true, true);
  const std::vector<Index> starts{0, 0, 33, T}, slots{2, 1, 0};
  mixers::State before = batch.scan.state(3), d_state = before;
  for (Index i = 0; i < 3; ++i) before.copy(batch.before, 0, i), d_state.copy(batch.d_state, 0, i);
  mixers::backward(batch.inputs(0, T), batch.d_out.view(), before, d_state, batch.to(0, T),
                   RaggedBatch{.starts = starts}, batch.scan,
                   {.executor = posenc_test::Backwards{3}, .slots = slots});
  for (std::size_t i = 0; i < 3; ++i) {
    const Index first = starts[i], count = starts[i + 1] - first;
    mixers::State own = alone.d_state;
    mixers::backward(alone.inputs(first, count), alone.d_out.view().slice(first, count),
                     alone.before, own, alone.to(first, count), alone.scan);
    CHECK(posenc_test::same_bits(numbers(own.matrices()), numbers(d_state.matrices(slots[i]))));
  }
  batch.d_state = alone.d_state;
  CHECK(posenc_test::same_bits(batch.results(), alone.results()));
}

TEST_CASE("scan: what is wrong with a call of backward is said in sentences", "[mixers]") {
  Call call(4, 5, 2, true, true);
  const auto error = [&](const mixers::ScanGradients& to) {
    return error_of([&] {
      mixers::backward(call.inputs(0, 4), call.d_out.view(), call.before, call.d_state, to,
                       call.scan);
    });
  };
  mixers::ScanGradients to = call.to(0, 4);
  to.z = {};
  CHECK(error(to) ==
        "posenc::mixers::backward: the gradient of z is missing: it must be [4, 1, 5].");
  to = call.to(0, 4);
  to.C = to.B;
  CHECK(error(to) ==
        "posenc::mixers::backward: the gradient of C must not overlap the gradient of B.");
  to = call.to(0, 4);
  to.dt = call.d_out.view();
  CHECK(error(to) == "posenc::mixers::backward: the gradient of dt must not overlap d_out.");
  const Call other(4, 6, 2, true, true);
  mixers::MambaGradients learned(other.scan);
  to = call.to(0, 4);
  to.learned = &learned;
  CHECK(error(to) ==
        "posenc::mixers::backward: the gradients of what is learned are not those of this scan.");
}

}  // namespace mixers_test::scan_backward_cases
