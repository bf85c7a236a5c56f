// SPDX-License-Identifier: MIT
//
// Mamba-3 against its formula in long double: forms, lengths, states, batches, and what may go wrong.
#include "oracle.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/guards.hpp"
#include "support/levels.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

#include <posenc/eigen.hpp>
#include <posenc/mixers/mixers.hpp>

#include <string>

namespace mixers_test::mamba3_cases {

using namespace posenc;
using posenc_test::numbers;
using posenc_test::Random;
using posenc_test::Tensor;

mixers::Mamba3 parameters(Index heads, Index groups, Index keys, Index values, double fraction) {
  mixers::Mamba3 of{.nheads = heads,
                    .headdim = values,
                    .d_state = keys,
                    .ngroups = groups,
                    .rope_fraction = fraction};
  Random random(3);
  for (Index i = 0; i < heads * keys; ++i) {
    of.B_bias.push_back(static_cast<float>(random.real(0, 1)));
    of.C_bias.push_back(static_cast<float>(random.real(0, 1)));
  }
  for (Index h = 0; h < heads; ++h) of.D.push_back(static_cast<float>(random.real(-1, 1)));
  return of;
}

struct Call {
  mixers::Mamba3 of;
  mixers::TrapezoidalScan scan;
  Index tokens;
  Tensor<float> x, B, C, dt, decay, trap, angles, z;

  Call(const mixers::Mamba3& parameters, Index n, unsigned seed, Index angle_heads = 1)
      : of(parameters), scan(of), tokens(n), x(n, of.nheads, of.headdim),
        B(n, of.ngroups, of.d_state), C(n, of.ngroups, of.d_state), dt(n, of.nheads, 1),
        decay(n, of.nheads, 1), trap(n, of.nheads, 1), angles(n, angle_heads, of.pairs()),
        z(n, of.nheads, of.headdim) {
    x.fill(Random(seed)), B.fill(Random(seed + 1)), C.fill(Random(seed + 2));
    trap.fill(Random(seed + 3), 4), angles.fill(Random(seed + 4), 2), z.fill(Random(seed + 5), 4);
    Random random(seed + 6);
    for (Index t = 0; t < n; ++t)
      for (Index h = 0; h < of.nheads; ++h) {
        dt.view()(t, h, 0) = static_cast<float>(random.real(0, 1));
        decay.view()(t, h, 0) = static_cast<float>(random.real(-1, 0));
      }
  }
  [[nodiscard]] mixers::Mamba3Inputs inputs(Index first, Index count) const {
    return {.x = x.view().slice(first, count),
            .B = B.view().slice(first, count),
            .C = C.view().slice(first, count),
            .dt = dt.view().slice(first, count),
            .decay = decay.view().slice(first, count),
            .trap = trap.view().slice(first, count),
            .angles = angles.view().slice(first, count),
            .z = z.view().slice(first, count)};
  }
  [[nodiscard]] mixers::Mamba3Inputs inputs() const { return inputs(0, tokens); }
  [[nodiscard]] Tensor<float> outputs() const { return {tokens, of.nheads, of.headdim}; }
};

/// A state in parts.
struct Parts {
  Tensor<float> S, k, x;
  Tensor<double> theta;

  explicit Parts(const mixers::Mamba3& of)
      : S(of.d_state, of.nheads, of.headdim), k(1, of.nheads, of.d_state),
        x(1, of.nheads, of.headdim), theta(1, of.nheads, of.pairs()) {}
  [[nodiscard]] mixers::Mamba3State::Parts views() {
    return {S.view(), k.view(), x.view(), theta.view()};
  }
  Parts& fill(unsigned seed) {
    S.fill(Random(seed)), k.fill(Random(seed + 1)), x.fill(Random(seed + 2));
    theta.fill(Random(seed + 3), 2);
    return *this;
  }
};

/// The recurrence as the paper writes it; returns the greatest error of outputs and state over what rounding allows.
double worst_ratio(const Call& call, Parts& start, const TensorView<const float>& out,
                   const mixers::Mamba3State& after) {
  const mixers::Mamba3& of = call.of;
  const Index H = of.nheads, N = of.d_state, P = of.headdim;
  Parts end(of);
  after.write(0, end.views());
  double worst = 0;
  const auto compare = [&](Real got, Real wanted, Real bound) {
    const Real ratio = got == wanted ? 0 : std::abs(got - wanted) / bound;
    worst = std::isnan(ratio) ? HUGE_VAL : std::max(worst, static_cast<double>(ratio));
  };
  for (Index h = 0; h < H; ++h) {
    std::vector<Sum> s;
    std::vector<Real> k, x, theta;
    for (Index n = 0; n < N; ++n) {
      for (Index j = 0; j < P; ++j) s.push_back(exact(start.S.view()(n, h, j)));
      k.push_back(start.k.view()(0, h, n));
    }
    for (Index j = 0; j < P; ++j) x.push_back(start.x.view()(0, h, j));
    for (Index i = 0; i < of.pairs(); ++i) theta.push_back(start.theta.view()(0, h, i));
    for (Index t = 0; t < call.tokens; ++t) {
      const Real dt = call.dt.view()(t, h, 0),
                 lambda = 1 / (1 + std::exp(-static_cast<Real>(call.trap.view()(t, h, 0))));
      for (Index i = 0; i < of.pairs(); ++i)
        theta[size(i)] += static_cast<Real>(M_PIl) *
                          std::tanh(static_cast<Real>(
                              call.angles.view()(t, call.angles.view().heads == 1 ? 0 : h, i))) *
                          dt;
      const auto turned = [&](const Tensor<float>& from, const std::vector<float>& bias) {
        std::vector<Real> row;
        for (Index n = 0; n < N; ++n)
          row.push_back(from.view()(t, h / (H / of.ngroups), n) +
                        static_cast<Real>(bias[size(h * N + n)]));
        for (Index i = 0; i < of.pairs(); ++i) {
          const Real a = row[size(2 * i)], b = row[size(2 * i + 1)], c = std::cos(theta[size(i)]),
                     si = std::sin(theta[size(i)]);
          row[size(2 * i)] = a * c - b * si, row[size(2 * i + 1)] = a * si + b * c;
        }
        return row;
      };
      const std::vector<Real> q = turned(call.C, of.C_bias), now = turned(call.B, of.B_bias);
      std::vector<Sum> o(size(P));
      for (Index n = 0; n < N; ++n)
        for (Index j = 0; j < P; ++j) {
          Sum& at = s[size(n * P + j)];
          at.add(dt * (1 - lambda) * k[size(n)], exact(x[size(j)]));
          at.decay(call.decay.view()(t, h, 0));
          at.add(lambda * dt * now[size(n)], exact(call.x.view()(t, h, j)));
          o[size(j)].add(q[size(n)], at);
        }
      k = now;
      for (Index j = 0; j < P; ++j) {
        x[size(j)] = call.x.view()(t, h, j);
        o[size(j)].add(of.D[size(h)], exact(x[size(j)]));
        const Real z = call.z.view()(t, h, j), gate = z / (1 + std::exp(-z));
        compare(out(t, h, j), gate * o[size(j)].value,
                std::abs(gate) *
                        (2 * o[size(j)].bound(N, 1) + 0x1p-21L * std::abs(o[size(j)].value)) +
                    1e-30L);
      }
    }
    for (Index n = 0; n < N; ++n) {
      compare(end.k.view()(0, h, n), k[size(n)], 2e-6L);
      for (Index j = 0; j < P; ++j)
        compare(end.S.view()(n, h, j), s[size(n * P + j)].value,
                2 * s[size(n * P + j)].bound(N, 1));
    }
    for (Index j = 0; j < P; ++j) compare(end.x.view()(0, h, j), x[size(j)], 1e-30L);
    for (Index i = 0; i < of.pairs(); ++i)
      compare(std::remainder(end.theta.view()(0, h, i) - theta[size(i)], 2 * M_PIl), 0, 1e-13L);
  }
  return worst;
}

std::vector<float> numbers(const mixers::Mamba3State& state, const mixers::Mamba3& of,
                           Index i = 0) {
  Parts parts(of);
  state.write(i, parts.views());
  std::vector<float> all = numbers(parts.S.view());
  for (const Tensor<float>* x : {&parts.k, &parts.x})
    for (const float y : numbers(x->view())) all.push_back(y);
  for (Index h = 0; h < of.nheads; ++h)
    for (Index p = 0; p < of.pairs(); ++p)
      all.push_back(static_cast<float>(parts.theta.view()(0, h, p)));
  return all;
}

TEST_CASE("mamba3: step and chunked are the formula at every length and level", "[mixers]") {
  posenc_test::at_every_level([] {
    struct Shape {
      Index heads, groups, keys, values;
      double fraction;
    };
    for (const Shape& at : {Shape{4, 2, 20, 12, 0.5}, Shape{2, 1, 8, 3, 1}, Shape{1, 1, 3, 5, 0}})
      for (const Index tokens : {1, 2, 17, 64, 65, 130}) {
        INFO(tokens << " tokens of " << at.heads << " heads");
        const Call call(parameters(at.heads, at.groups, at.keys, at.values, at.fraction), tokens,
                        static_cast<unsigned>(tokens), tokens % 2 == 0 ? at.heads : 1);
        Parts start(call.of);
        start.fill(5);
        mixers::Mamba3State state(call.scan), again(call.scan);
        state.read(0, start.views()), again.read(0, start.views());
        Tensor<float> out = call.outputs();
        mixers::chunked(call.inputs(), out.view(), call.scan, state);
        CHECK(worst_ratio(call, start, out, state) <= 1);
        for (Index t = 0; t < tokens; ++t)
          mixers::step(call.inputs(t, 1), out.view().slice(t, 1), call.scan, again);
        CHECK(worst_ratio(call, start, out, again) <= 1);
        CHECK((state.tokens() == tokens && again.tokens() == tokens));
      }
  });
}

TEST_CASE("mamba3: pieces, threads, workspaces, batches, and no look ahead", "[mixers]") {
  Call call(parameters(4, 1, 16, 8, 0.5), 150, 3);
  Parts start(call.of);
  start.fill(9);
  mixers::Mamba3State first(call.scan);
  first.read(0, start.views());
  mixers::Mamba3State of_whole = first, of_parts = first;
  Tensor<float> whole = call.outputs(), parts = call.outputs();
  mixers::chunked(call.inputs(), whole.view(), call.scan, of_whole);
  const AnyExecutor executor(posenc_test::Backwards{3});
  const posenc_test::Workspace workspace(mixers::workspace_bytes(call.scan, executor));
  const mixers::Options options{.executor = executor, .workspace = workspace.memory()};
  for (const auto& [at, count] : {std::pair<Index, Index>{0, 64}, {64, 0}, {64, 86}})
    mixers::chunked(call.inputs(at, count), parts.view().slice(at, count), call.scan, of_parts,
                    options);
  CHECK(posenc_test::same_bits(numbers(parts), numbers(whole)));
  CHECK(posenc_test::same_bits(numbers(of_parts, call.of), numbers(of_whole, call.of)));
  CHECK(workspace.guards_are_whole());
  const std::size_t before = posenc_test::allocations();
  mixers::chunked(call.inputs(), parts.view(), call.scan, of_parts, options);
  CHECK(posenc_test::allocations() == before);

  const std::vector<Index> starts{0, 40, 40, 150}, slots{2, 0, 3};
  mixers::Mamba3State many(call.scan, 4);
  for (Index i = 0; i < 4; ++i) many.copy(first, 0, i);
  mixers::chunked(call.inputs(), parts.view(), RaggedBatch{.starts = starts}, call.scan, many,
                  {.executor = executor, .slots = slots});
  for (std::size_t i = 0; i < 3; ++i) {
    const Index at = starts[i], count = starts[i + 1] - at;
    mixers::Mamba3State one = first;
    Tensor<float> own(count, 4, 8);
    mixers::chunked(call.inputs(at, count), own.view(), call.scan, one);
    CHECK(posenc_test::same_bits(numbers(own), numbers(parts.view().slice(at, count))));
    CHECK(posenc_test::same_bits(numbers(one, call.of), numbers(many, call.of, slots[i])));
  }
  CHECK(posenc_test::same_bits(numbers(first, call.of), numbers(many, call.of, 1)));
  many.clear(1);
  for (const float x : numbers(many, call.of, 1)) CHECK(x == 0);

  call.dt.view()(70, 1, 0) = std::nanf("");
  mixers::Mamba3State state = first;
  mixers::chunked(call.inputs(), parts.view(), call.scan, state);
  for (Index t = 0; t < 150; ++t)
    for (Index h = 0; h < 4; ++h)
      for (Index j = 0; j < 8; ++j) {
        if (t >= 70 && h == 1)
          CHECK(std::isnan(parts.view()(t, h, j)));
        else if (t < 64 || h != 1)
          CHECK(posenc_test::same_bits(parts.view()(t, h, j), whole.view()(t, h, j)));
      }
}

TEST_CASE("mamba3: elements of 16 bits are floats that are rounded once", "[mixers]") {
  Call call(parameters(2, 1, 8, 6, 0.5), 20, 3);
  std::vector<Eigen::bfloat16> B, out(20 * 12);
  for (Index t = 0; t < 20; ++t)
    for (Index c = 0; c < 8; ++c) {
      B.push_back(narrow<Eigen::bfloat16>(call.B.view()(t, 0, c)));
      call.B.view()(t, 0, c) = widen(B.back());
    }
  mixers::Mamba3Inputs in = call.inputs();
  in.B = TensorView<const Eigen::bfloat16>(B.data(), 20, 1, 8);
  mixers::Mamba3State state(call.scan), other(call.scan);
  Tensor<float> wanted = call.outputs();
  mixers::chunked(in, TensorView(out.data(), 20, 2, 6), call.scan, state);
  mixers::chunked(call.inputs(), wanted.view(), call.scan, other);
  for (Index i = 0; i < 20 * 12; ++i)
    CHECK(posenc_test::same_bits(out[size(i)],
                                 narrow<Eigen::bfloat16>(wanted.view()(i / 12, i / 6 % 2, i % 6))));
}

TEST_CASE("mamba3: numbers to begin with, and what is wrong", "[mixers]") {
  const mixers::Mamba3 of = mixers::Mamba3::initial(768);
  CHECK((of.nheads == 24 && of.pairs() == 32 && of.B_bias.size() == 24 * 128 && of.D[23] == 1));
  CHECK(error_of([] {
          mixers::TrapezoidalScan{mixers::Mamba3{.nheads = 3,
                                                 .headdim = 0,
                                                 .d_state = 4,
                                                 .ngroups = 2,
                                                 .rope_fraction = 2,
                                                 .B_bias = {1},
                                                 .D = {HUGE_VALF, 0, 0}}};
        }) ==
        "posenc::mixers::Mamba3: 5 problems\n"
        "  - rope_fraction must be within 0 to 1, got 2.\n"
        "  - the number of heads must be a multiple of that of groups, got 3 and 2.\n"
        "  - headdim and d_state must be at least 1, got 0 and 4.\n"
        "  - B_bias must have 12 numbers, got 1.\n"
        "  - D must be finite.");
  const Call call(parameters(2, 1, 8, 6, 0.5), 3, 3);
  mixers::Mamba3State state(call.scan, 2);
  Tensor<float> out = call.outputs();
  mixers::Mamba3Inputs in = call.inputs();
  in.trap = {}, in.angles = call.x.view();
  CHECK(
      error_of([&] {
        mixers::chunked(in, TensorView<float>(const_cast<float*>(call.z.view().data), 3, 2, 6),
                        call.scan, state);
      }) ==
      "posenc::mixers::chunked: 3 problems\n"
      "  - trap is missing: it must be [3, 2, 1].\n"
      "  - angles is [3, 2, 6] but must be [3, 2, 2].\n"
      "  - the state is of 2 sequences, but the call has 1: give slots to continue some of them.");
  Parts parts(call.of);
  mixers::Mamba3State::Parts wrong = parts.views();
  wrong.k = out.view();
  CHECK(error_of([&] { state.read(0, wrong); }) ==
        "posenc::mixers::Mamba3State::read: k is [3, 2, 6] but must be [1, 2, 8].");
  CHECK(error_of([&] { state.read(5, parts.views()); }) ==
        "posenc::mixers::State: sequence 5 is not among the 2 of the state.");
}

}  // namespace mixers_test::mamba3_cases
