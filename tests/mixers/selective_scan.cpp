// SPDX-License-Identifier: MIT
//
// The selective scan against its formula in long double: every form, length, element, batch and level, and what may go
// wrong. The bounds count roundings of the terms of each sum, as oracle.hpp does for the other mixers.
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

#include <limits>
#include <string>

namespace mixers_test::selective_scan_cases {

using namespace posenc;
using posenc_test::numbers;
using posenc_test::Random;
using posenc_test::Tensor;

std::vector<float> drawn(Index n, unsigned seed, double low, double high) {
  Random random(seed);
  std::vector<float> all;
  for (Index i = 0; i < n; ++i) all.push_back(static_cast<float>(random.real(low, high)));
  return all;
}

/// Parameters of which no two are alike.
mixers::Mamba mamba(Index channels, Index states, unsigned seed) {
  return {.d_inner = channels,
          .d_state = states,
          .A_log = drawn(channels * states, seed, -2, 3),
          .dt_bias = drawn(channels, seed + 1, -4, 1),
          .D = drawn(channels, seed + 2, -1, 1)};
}

struct Call {
  mixers::Mamba parameters;
  mixers::SelectiveScan scan;
  Index tokens;
  Tensor<float> u, dt, B, C, z;

  Call(const mixers::Mamba& of, Index n, unsigned seed,
       Tensor<float>::Memory memory = Tensor<float>::token_major)
      : parameters(of), scan(of), tokens(n), u(n, 1, of.d_inner, memory),
        dt(n, 1, of.d_inner, memory), B(n, 1, of.d_state, memory), C(n, 1, of.d_state, memory),
        z(n, 1, of.d_inner, memory) {
    u.fill(Random(seed)), dt.fill(Random(seed + 1), 4), B.fill(Random(seed + 2));
    C.fill(Random(seed + 3)), z.fill(Random(seed + 4), 4);
  }

  [[nodiscard]] mixers::ScanInputs inputs(Index first, Index count, bool gated = true) const {
    mixers::ScanInputs in{.u = u.view().slice(first, count),
                          .dt = dt.view().slice(first, count),
                          .B = B.view().slice(first, count),
                          .C = C.view().slice(first, count)};
    if (gated) in.z = z.view().slice(first, count);
    return in;
  }
  [[nodiscard]] mixers::ScanInputs inputs() const { return inputs(0, tokens); }
  [[nodiscard]] Tensor<float> outputs() const { return {tokens, 1, parameters.d_inner}; }
  [[nodiscard]] mixers::State state(unsigned seed, Index sequences = 1) const {
    mixers::State state = scan.state(sequences);
    Random random(seed);
    for (Index i = 0; i < sequences; ++i)
      for (Index c = 0; c < parameters.d_inner; ++c)
        for (Index n = 0; n < parameters.d_state; ++n)
          state.matrices(i)(n, c / 16, c % 16) = static_cast<float>(random.real(-1, 1));
    return state;
  }
};

struct Wanted {
  std::vector<Sum> out;    ///< [tokens][channels], before the gate
  std::vector<Real> gate;  ///< [tokens][channels]
  std::vector<Sum> state;  ///< [channels][states]
};

/// The recurrence as it is written, in long double.
Wanted recurrence(const Call& call, const mixers::State& start, bool gated = true) {
  const mixers::Mamba& of = call.parameters;
  const Index E = of.d_inner, N = of.d_state;
  Wanted wanted;
  wanted.out.resize(size(call.tokens * E)), wanted.gate.assign(size(call.tokens * E), 1);
  for (Index c = 0; c < E; ++c) {
    std::vector<Sum> h;
    for (Index n = 0; n < N; ++n) h.push_back(exact(start.matrices()(n, c / 16, c % 16)));
    for (Index t = 0; t < call.tokens; ++t) {
      Real delta = call.dt.view()(t, 0, c);
      if (!of.dt_bias.empty()) delta += static_cast<Real>(of.dt_bias[size(c)]);
      if (of.softplus)
        delta = delta > 0 ? delta + std::log1p(std::exp(-delta)) : std::log1p(std::exp(delta));
      const Real u = call.u.view()(t, 0, c);
      Sum& y = wanted.out[size(t * E + c)];
      if (!of.D.empty()) y.add(of.D[size(c)], exact(u));
      for (Index n = 0; n < N; ++n) {
        h[size(n)].decay(-std::exp(static_cast<Real>(of.A_log[size(c * N + n)])) * delta);
        h[size(n)].add(delta * u, exact(call.B.view()(t, 0, n)));
        y.add(call.C.view()(t, 0, n), h[size(n)]);
      }
      if (gated) {
        const Real z = call.z.view()(t, 0, c);
        wanted.gate[size(t * E + c)] = z / (1 + std::exp(-z));
      }
    }
    for (const Sum& x : h) wanted.state.push_back(x);
  }
  return wanted;
}

/// The greatest error over what rounding allows.
double worst_ratio(const Call& call, const Wanted& wanted, const TensorView<const float>& out,
                   const mixers::State& state) {
  const Index E = call.parameters.d_inner, N = call.parameters.d_state;
  double worst = 0;
  const auto compare = [&](Real got, Real value, Real bound) {
    const Real ratio = got == value ? 0 : std::abs(got - value) / bound;
    worst = std::isnan(ratio) ? HUGE_VAL : std::max(worst, static_cast<double>(ratio));
  };
  // A term is rounded a few times on its way in, and once for each state that is summed.
  const auto bound = [&](const Sum& x) {
    return 0x1p-24L * (x.terms * static_cast<Real>(N + 40) + 12 * x.logs + 4 * x.ages) + 1e-37L;
  };
  for (Index t = 0; t < call.tokens; ++t)
    for (Index c = 0; c < E; ++c) {
      const Sum& x = wanted.out[size(t * E + c)];
      const Real gate = wanted.gate[size(t * E + c)];
      compare(out(t, 0, c), x.value * gate,
              std::abs(gate) * (bound(x) + 0x1p-21L * std::abs(x.value)) + 1e-37L);
    }
  for (Index c = 0; c < E; ++c)
    for (Index n = 0; n < N; ++n)
      compare(state.matrices()(n, c / 16, c % 16), wanted.state[size(c * N + n)].value,
              bound(wanted.state[size(c * N + n)]));
  return worst;
}

void steps(const Call& call, const TensorView<float>& out, mixers::State& state,
           const mixers::Options& options = {}) {
  for (Index t = 0; t < call.tokens; ++t)
    mixers::step(call.inputs(t, 1), out.slice(t, 1), call.scan, state, options);
}

TEST_CASE("selective scan: the recurrence of the oracle is its sum over all tokens before",
          "[mixers]") {
  const Call call(mamba(3, 2, 1), 13, 2);
  const mixers::State start = call.state(3);
  const Wanted wanted = recurrence(call, start);
  const mixers::Mamba& of = call.parameters;
  const auto delta = [&](Index t, Index c) {
    return std::log1p(std::exp(static_cast<Real>(call.dt.view()(t, 0, c)) + of.dt_bias[size(c)]));
  };
  for (Index t = 0; t < 13; ++t)
    for (Index c = 0; c < 3; ++c) {
      Real y = static_cast<Real>(of.D[size(c)]) * call.u.view()(t, 0, c);
      for (Index n = 0; n < 2; ++n)
        for (Index m = -1; m <= t; ++m) {
          Real since = 0;
          for (Index s = m + 1; s <= t; ++s) since += delta(s, c);
          const Real wrote = m < 0 ? static_cast<Real>(start.matrices()(n, 0, c))
                                   : delta(m, c) * call.B.view()(m, 0, n) * call.u.view()(m, 0, c);
          y += call.C.view()(t, 0, n) * wrote *
               std::exp(-std::exp(static_cast<Real>(of.A_log[size(c * 2 + n)])) * since);
        }
      CHECK(std::abs(y - wanted.out[size(t * 3 + c)].value) <=
            1e-16L * wanted.out[size(t * 3 + c)].terms);
    }
}

TEST_CASE("selective scan: all forms are the formula at every length, width and level",
          "[mixers]") {
  posenc_test::at_every_level([] {
    struct Widths {
      Index channels, states;
    };
    for (const Widths& at : {Widths{1, 1}, Widths{16, 16}, Widths{37, 5}, Widths{130, 3}})
      for (const Index tokens : {1, 2, 15, 16, 17, 33, 70})
        for (const bool gated : {true, false}) {
          INFO(tokens << " tokens of " << at.channels << " channels, " << at.states << " states");
          const Call call(mamba(at.channels, at.states, 7), tokens, static_cast<unsigned>(tokens));
          const mixers::State start = call.state(5);
          const Wanted wanted = recurrence(call, start, gated);
          const mixers::ScanInputs in = call.inputs(0, tokens, gated);
          Tensor<float> out = call.outputs(), stepped = call.outputs();
          mixers::State state = start;
          mixers::parallel(in, out.view(), call.scan, state);
          CHECK(worst_ratio(call, wanted, out, state) <= 1);
          CHECK(state.tokens() == tokens);
          state = start;
          mixers::scan(in, out.view(), call.scan, state);
          CHECK(worst_ratio(call, wanted, out, state) <= 1);
          CHECK(state.tokens() == tokens);
          if (!gated) continue;
          mixers::State by_token = start;
          steps(call, stepped.view(), by_token);
          CHECK(posenc_test::same_bits(numbers(out), numbers(stepped)));
          CHECK(posenc_test::same_bits(numbers(state.matrices()), numbers(by_token.matrices())));
          CHECK(by_token.tokens() == tokens);
        }
  });
}

TEST_CASE("selective scan: without softplus, bias and skip", "[mixers]") {
  mixers::Mamba of = mamba(20, 4, 3);
  of.softplus = false, of.dt_bias.clear(), of.D.clear();
  Call call(of, 40, 8);
  for (Index t = 0; t < 40; ++t)
    for (Index c = 0; c < 20; ++c) call.dt.view()(t, 0, c) = std::abs(call.dt.view()(t, 0, c)) / 64;
  const mixers::State start = call.state(1);
  Tensor<float> out = call.outputs();
  mixers::State state = start;
  mixers::scan(call.inputs(), out.view(), call.scan, state);
  CHECK(worst_ratio(call, recurrence(call, start), out, state) <= 1);
  state = start;
  mixers::parallel(call.inputs(), out.view(), call.scan, state);
  CHECK(worst_ratio(call, recurrence(call, start), out, state) <= 1);
}

TEST_CASE("selective scan: a sequence in pieces is the sequence, and the future has no effect",
          "[mixers]") {
  Call call(mamba(33, 6, 4), 90, 5);
  call.dt.view()(40, 0, 7) = 1e6F;  // decays of 0, in one part of each
  const mixers::State start = call.state(2);
  Tensor<float> whole = call.outputs(), parts = call.outputs();
  mixers::State of_whole = start, of_parts = start;
  mixers::scan(call.inputs(), whole.view(), call.scan, of_whole);
  for (const auto& [first, count] : {std::pair<Index, Index>{0, 5}, {5, 0}, {5, 40}, {45, 44}})
    mixers::scan(call.inputs(first, count), parts.view().slice(first, count), call.scan, of_parts);
  mixers::step(call.inputs(89, 1), parts.view().slice(89, 1), call.scan, of_parts);
  CHECK(posenc_test::same_bits(numbers(parts), numbers(whole)));
  CHECK(posenc_test::same_bits(numbers(of_parts.matrices()), numbers(of_whole.matrices())));

  const float nan = std::numeric_limits<float>::quiet_NaN();
  call.u.view()(50, 0, 3) = nan, call.B.view()(60, 0, 1) = nan;
  mixers::State state = start;
  mixers::scan(call.inputs(), parts.view(), call.scan, state);
  for (Index t = 0; t < 90; ++t)
    for (Index c = 0; c < 33; ++c) {
      const bool reached = t >= 60 || (t >= 50 && c == 3);
      CHECK(std::isnan(parts.view()(t, 0, c)) == reached);
      if (!reached) CHECK(posenc_test::same_bits(parts.view()(t, 0, c), whole.view()(t, 0, c)));
    }
}

TEST_CASE("selective scan: Delta from 0 to infinity", "[mixers]") {
  mixers::Mamba of = mamba(16, 3, 6);
  of.dt_bias.clear();
  for (Index i = 0; i < 3; ++i) of.A_log[size(i)] = 0;
  Call call(of, 1, 7);
  const float infinity = std::numeric_limits<float>::infinity();
  const mixers::State start = call.state(8);
  const auto after = [&](float dt) {
    for (Index c = 0; c < 16; ++c) call.dt.view()(0, 0, c) = dt;
    mixers::State state = start;
    Tensor<float> out = call.outputs();
    mixers::scan(call.inputs(), out.view(), call.scan, state);
    return numbers(state.matrices());
  };
  CHECK(posenc_test::same_bits(after(-200), numbers(start.matrices())));  // the token is ignored
  CHECK(posenc_test::same_bits(after(-infinity), numbers(start.matrices())));
  const std::vector<float> reset = after(1e6F);  // what was before is gone
  for (Index n = 0, i = 0; n < 3; ++n)
    for (Index c = 0; c < 16; ++c, ++i) {
      const Real wrote = 1e6L * call.B.view()(0, 0, n) * static_cast<Real>(call.u.view()(0, 0, c));
      CHECK(std::abs(reset[size(i)] - wrote) <= 1e-6L * std::abs(wrote));
    }
  call.u.view()(0, 0, 5) = 0;
  const std::vector<float> infinite = after(infinity);
  CHECK(std::isnan(infinite[5]));  // 0 times infinity, as the formula has it
  CHECK(std::isinf(infinite[6]));

  mixers::Mamba grows = of;
  grows.softplus = false;
  const mixers::SelectiveScan scan(grows);
  for (const float dt : {-1.0F, -1e30F}) {
    for (Index c = 0; c < 16; ++c) call.dt.view()(0, 0, c) = dt;
    mixers::State state = start;
    Tensor<float> out = call.outputs();
    mixers::scan(call.inputs(), out.view(), scan, state);
    for (const float x : numbers(state.matrices())) CHECK(std::isfinite(x));
    if (dt != -1.0F) continue;
    for (Index n = 0; n < 3; ++n) {  // channel 0 has A = -1 for all states
      const Real wanted = std::exp(1.0L) * start.matrices()(n, 0, 0) -
                          static_cast<Real>(call.u.view()(0, 0, 0)) * call.B.view()(0, 0, n);
      CHECK(std::abs(state.matrices()(n, 0, 0) - wanted) <= 2e-6L);
    }
  }
}

TEST_CASE("selective scan: small decays lose nothing over 65,536 tokens", "[mixers]") {
  // A state that only decays, by 1e-5 a token: exp(-0.65536) is left of it.
  const Index tokens = 65'536;
  mixers::Mamba of{.d_inner = 1, .d_state = 1, .A_log = {0}, .softplus = false};
  const mixers::SelectiveScan scan(of);
  const std::vector<float> zero(size(tokens), 0), dt(size(tokens), 1e-5F);
  std::vector<float> out(size(tokens));
  const auto view = [&](const std::vector<float>& x) {
    return TensorView<const float>(x.data(), tokens, 1, 1);
  };
  mixers::State state = scan.state();
  state.matrices()(0, 0, 0) = 1;
  mixers::scan({.u = view(zero), .dt = view(dt), .B = view(zero), .C = view(zero)},
               TensorView(out.data(), tokens, 1, 1), scan, state);
  CHECK(std::abs(state.matrices()(0, 0, 0) - std::exp(-static_cast<Real>(dt[0]) * tokens)) < 4e-5L);
}

TEST_CASE("selective scan: strides, threads and workspaces change no bit", "[mixers]") {
  const Call plain(mamba(150, 9, 1), 50, 3);
  Tensor<float> wanted = plain.outputs();
  mixers::State wanted_state = plain.state(4);
  mixers::scan(plain.inputs(), wanted.view(), plain.scan, wanted_state);
  const auto check = [&](const Call& call, Tensor<float> out, const mixers::Options& options) {
    mixers::State state = call.state(4), again = state;
    mixers::scan(call.inputs(), out.view(), call.scan, state, options);
    CHECK(posenc_test::same_bits(numbers(out), numbers(wanted)));
    steps(call, out.view(), again, options);
    CHECK(posenc_test::same_bits(numbers(out), numbers(wanted)));
    CHECK(posenc_test::same_bits(numbers(state.matrices()), numbers(wanted_state.matrices())));
    CHECK(posenc_test::same_bits(numbers(again.matrices()), numbers(wanted_state.matrices())));
  };
  check(Call(mamba(150, 9, 1), 50, 3, Tensor<float>::padded),
        Tensor<float>(50, 1, 150, Tensor<float>::padded), {});
  for (const Index threads : {2, 3, 7})
    check(plain, plain.outputs(), {.executor = posenc_test::Backwards{threads}});
  const AnyExecutor executor(posenc_test::Backwards{3});
  const posenc_test::Workspace workspace(mixers::workspace_bytes(plain.scan, executor));
  check(plain, plain.outputs(), {.executor = executor, .workspace = workspace.memory()});
  CHECK(workspace.guards_are_whole());
  mixers::State state = plain.state(4);
  const std::size_t before = posenc_test::allocations();
  mixers::scan(plain.inputs(), wanted.view(), plain.scan, state,
               {.executor = executor, .workspace = workspace.memory()});
  CHECK(posenc_test::allocations() == before);
}

TEST_CASE("selective scan: each sequence of a ragged batch is a call of its own", "[mixers]") {
  const Call call(mamba(40, 7, 1), 60, 3);
  const std::vector<Index> starts{0, 1, 1, 25, 60}, slots{4, 0, 3, 1};
  mixers::State states = call.state(9, 5);
  const mixers::State before = states;
  Tensor<float> out = call.outputs();
  mixers::scan(call.inputs(), out.view(), RaggedBatch{.starts = starts}, call.scan, states,
               {.executor = posenc_test::Backwards{3}, .slots = slots});
  for (std::size_t i = 0; i < 4; ++i) {
    const Index first = starts[i], count = starts[i + 1] - first;
    mixers::State one = call.scan.state();
    one.copy(before, slots[i], 0);
    Tensor<float> own(count, 1, 40);
    mixers::scan(call.inputs(first, count), own.view(), call.scan, one);
    CHECK(posenc_test::same_bits(numbers(own), numbers(out.view().slice(first, count))));
    CHECK(posenc_test::same_bits(numbers(one.matrices()), numbers(states.matrices(slots[i]))));
    CHECK(states.tokens(slots[i]) == count);
  }
  const std::vector<Index> two{3, 0};
  mixers::State stepped = states;
  mixers::step(call.inputs(10, 2), out.view().slice(0, 2), call.scan, stepped,
               {.executor = posenc_test::Backwards{2}, .slots = two});
  for (Index i = 0; i < 2; ++i) {
    mixers::State one = call.scan.state();
    one.copy(states, two[size(i)], 0);
    Tensor<float> own(1, 1, 40);
    mixers::step(call.inputs(10 + i, 1), own.view(), call.scan, one);
    CHECK(posenc_test::same_bits(numbers(own), numbers(out.view().slice(i, 1))));
    CHECK(posenc_test::same_bits(numbers(one.matrices()), numbers(stepped.matrices(two[size(i)]))));
  }
}

template <class T>
void check_elements() {
  Call call(mamba(40, 7, 1), 30, 3);
  std::vector<std::vector<T>> kept;
  const auto rounded = [&](Tensor<float>& x) {
    std::vector<T>& all = kept.emplace_back();
    for (Index t = 0; t < x.view().tokens; ++t)
      for (Index c = 0; c < x.view().width; ++c) {
        all.push_back(narrow<T>(x.view()(t, 0, c)));
        x.view()(t, 0, c) = widen(all.back());
      }
    return TensorView<const T>(all.data(), x.view().tokens, 1, x.view().width);
  };
  kept.reserve(5);
  const mixers::ScanInputs in{.u = rounded(call.u),
                              .dt = rounded(call.dt),
                              .B = rounded(call.B),
                              .C = rounded(call.C),
                              .z = rounded(call.z)};
  std::vector<T> out(30 * 40);
  Tensor<float> wanted = call.outputs();
  mixers::State state = call.state(2), other = state;
  mixers::scan(in, TensorView(out.data(), 30, 1, 40), call.scan, state);
  mixers::scan(call.inputs(), wanted.view(), call.scan, other);
  const std::vector<float> all = numbers(wanted);
  bool same = true;
  for (std::size_t i = 0; i < all.size(); ++i)
    same &= posenc_test::same_bits(out[i], narrow<T>(all[i]));
  CHECK(same);
  CHECK(posenc_test::same_bits(numbers(state.matrices()), numbers(other.matrices())));
}
TEST_CASE("selective scan: elements of 16 bits are floats that are rounded once", "[mixers]") {
  check_elements<Eigen::bfloat16>();
  check_elements<Eigen::half>();
}

TEST_CASE("selective scan: layers begin with the published numbers", "[mixers]") {
  const mixers::Mamba of = mixers::Mamba::initial(24, 1);
  CHECK((of.d_inner == 48 && of.d_state == 16 && of.D[47] == 1));
  for (Index i = 0; i < 48 * 16; ++i)
    CHECK(of.A_log[size(i)] == static_cast<float>(std::log(static_cast<double>(i % 16 + 1))));
  for (const float b : of.dt_bias) {
    const double dt = std::log1p(std::exp(static_cast<double>(b)));
    CHECK((dt > 0.999e-3 && dt < 0.1001));
  }
  CHECK(mixers::Mamba::dt_rank(768) == 48);
  CHECK(mixers::Mamba::dt_rank(17) == 2);
  float most = 0;
  for (const float w : mixers::Mamba::initial_dt_proj(50, 4, 3)) most = std::max(most, std::abs(w));
  CHECK((most > 0.49F && most <= 0.5F));
  CHECK(mixers::Mamba::initial_dt_proj(2, 4, 3, true) == std::vector<float>(8, 0.5F));
}

TEST_CASE("selective scan: what is wrong is said in sentences", "[mixers]") {
  CHECK(error_of([] { mixers::SelectiveScan{mixers::Mamba{}}; }) ==
        "posenc::mixers::Mamba: d_inner and d_state must be at least 1, got 0 and 16.");
  CHECK(error_of([] {
          mixers::SelectiveScan{mixers::Mamba{.d_inner = 1,
                                              .d_state = 2,
                                              .A_log = {81, HUGE_VALF, 0},
                                              .dt_bias = {0, 1},
                                              .D = {HUGE_VALF}}};
        }) ==
        "posenc::mixers::Mamba: 5 problems\n"
        "  - A_log must have a number for each of the 2 states of 1 channels, got 3.\n"
        "  - dt_bias must have a number for each of the 1 channels, got 2.\n"
        "  - A_log must be finite, got inf.\n"
        "  - D must be finite, got inf.\n"
        "  - A_log must be at most 80, got 81.");
  const Call call(mamba(20, 4, 1), 3, 2);
  Tensor<float> out = call.outputs(), small(2, 1, 20);
  mixers::State state = call.scan.state(2);
  mixers::ScanInputs in = call.inputs();
  in.B = TensorView<const float>(call.B.view().data, 3, 4, 1), in.C = {};
  CHECK(
      error_of([&] { mixers::scan(in, small.view(), call.scan, state); }) ==
      "posenc::mixers::scan: 4 problems\n"
      "  - B is [3, 4, 1] but must be [3, 1, 4].\n"
      "  - C is missing: it must be [3, 1, 4].\n"
      "  - out is [2, 1, 20] but must be [3, 1, 20].\n"
      "  - the state is of 2 sequences, but the call has 1: give slots to continue some of them.");
  const TensorView<float> over(const_cast<float*>(call.z.view().data), 3, 1, 20);
  mixers::State other =
      mixers::ShortConvolution({.channels = 2, .weight = drawn(8, 1, -1, 1)}).state(3);
  CHECK(error_of([&] { mixers::step(call.inputs(), over, call.scan, other); }) ==
        "posenc::mixers::step: 2 problems\n"
        "  - out must not overlap z.\n"
        "  - the state is of 1 blocks of [3, 2], but this scan has 2 of [4, 16]: make it by "
        "SelectiveScan::state().");
  const std::vector<Index> starts{0, 3}, slots{2};
  const std::vector<Position> offsets{4};
  const std::string few = error_of([&] {
    mixers::scan(call.inputs(), out.view(), RaggedBatch{.starts = starts, .offsets = offsets},
                 call.scan, state, {.slots = slots});
  });
  CHECK(few ==
        "posenc::mixers::scan: 2 problems\n"
        "  - a state knows where its sequence stands, so the batch must have no offsets.\n"
        "  - slot 2 is not among the 2 sequences of the state.");
  CHECK(error_of([&] { static_cast<void>(call.scan.state(-1)); }).find("must not be negative") !=
        std::string::npos);
}

TEST_CASE("short convolution: the formula, in any pieces, elements, threads and in place",
          "[mixers]") {
  posenc_test::at_every_level([] {
    for (const Index width : {2, 4, 16})
      for (const bool silu : {true, false}) {
        const Index tokens = 75, channels = 130;
        mixers::ShortConv parameters{.channels = channels,
                                     .width = width,
                                     .weight = drawn(channels * width, 1, -1, 1),
                                     .bias = drawn(channels, 2, -1, 1),
                                     .silu = silu};
        if (width == 2) parameters.bias.clear();
        const mixers::ShortConvolution of(parameters);
        Tensor<float> x(tokens, 1, channels), out(tokens, 1, channels), parts(tokens, 1, channels);
        x.fill(Random(3), 4);
        mixers::State start = of.state();
        for (Index i = 0; i + 1 < width; ++i)
          for (Index c = 0; c < channels; ++c)
            start.matrices()(i, 0, c) = static_cast<float>((i * 7 + c) % 5) - 2;
        mixers::State state = start;
        mixers::convolve(x.view(), out.view(), of, state);
        bool near = true;
        for (Index t = 0; t < tokens; ++t)
          for (Index c = 0; c < channels; ++c) {
            Real sum = parameters.bias.empty() ? 0 : parameters.bias[size(c)], all = std::abs(sum);
            for (Index i = 0; i < width; ++i) {
              const Index from = t - width + 1 + i;
              const Real term =
                  static_cast<Real>(parameters.weight[size(c * width + i)]) *
                  (from >= 0 ? x.view()(from, 0, c) : start.matrices()(width - 1 + from, 0, c));
              sum += term, all += std::abs(term);
            }
            const Real wanted = silu ? sum / (1 + std::exp(-sum)) : sum;
            near &= std::abs(out.view()(t, 0, c) - wanted) <=
                    0x1p-24L * (1.2L * all * static_cast<Real>(width + 1) + 16 * std::abs(wanted));
          }
        CHECK(near);
        for (Index i = 0; i + 1 < width; ++i)
          for (Index c = 0; c < channels; ++c)
            CHECK(state.matrices()(i, 0, c) == x.view()(tokens - width + 1 + i, 0, c));
        CHECK(state.tokens() == tokens);

        mixers::State again = start;
        const mixers::Options options{.executor = posenc_test::Backwards{3}};
        for (const auto& [first, count] :
             {std::pair<Index, Index>{0, 1}, {1, 1}, {2, 0}, {2, 40}, {42, 33}}) {
          const TensorView<float> part = parts.view().slice(first, count);
          for (Index t = 0; t < count; ++t)
            for (Index c = 0; c < channels; ++c) part(t, 0, c) = x.view()(first + t, 0, c);
          mixers::convolve(part, part, of, again, options);  // in place
        }
        CHECK(posenc_test::same_bits(numbers(parts), numbers(out)));
        CHECK(posenc_test::same_bits(numbers(state.matrices()), numbers(again.matrices())));
      }
  });
}

TEST_CASE("short convolution: batches, elements of 16 bits, and what is wrong", "[mixers]") {
  const mixers::ShortConvolution of({.channels = 21, .weight = drawn(84, 1, -1, 1)});
  Tensor<float> x(12, 1, 21), out(12, 1, 21), own(12, 1, 21);
  x.fill(Random(3));
  std::vector<Eigen::half> halves;
  for (Index t = 0; t < 12; ++t)
    for (Index c = 0; c < 21; ++c) {
      halves.push_back(narrow<Eigen::half>(x.view()(t, 0, c)));
      x.view()(t, 0, c) = widen(halves.back());
    }
  const std::vector<Index> starts{0, 5, 5, 12}, slots{2, 3, 0};
  mixers::State states = of.state(4), of_halves = states;
  mixers::convolve(x.view(), out.view(), RaggedBatch{.starts = starts}, of, states,
                   {.slots = slots});
  for (const auto& [first, count, slot] : {std::tuple<Index, Index, Index>{0, 5, 2}, {5, 7, 0}}) {
    mixers::State one = of.state();
    mixers::convolve(x.view().slice(first, count), own.view().slice(first, count), of, one);
    CHECK(posenc_test::same_bits(numbers(one.matrices()), numbers(states.matrices(slot))));
  }
  CHECK(posenc_test::same_bits(numbers(own), numbers(out)));
  const TensorView<Eigen::half> in_place(halves.data(), 12, 1, 21);
  mixers::convolve(in_place, in_place, RaggedBatch{.starts = starts}, of, of_halves,
                   {.slots = slots});
  for (Index t = 0; t < 12; ++t)
    for (Index c = 0; c < 21; ++c)
      CHECK(posenc_test::same_bits(in_place(t, 0, c), narrow<Eigen::half>(out.view()(t, 0, c))));
  CHECK(posenc_test::same_bits(numbers(of_halves.matrices(0)), numbers(states.matrices(0))));

  CHECK(error_of([] { mixers::ShortConvolution({.channels = 0, .width = 1}); }) ==
        "posenc::mixers::ShortConvolution: 2 problems\n"
        "  - channels must be at least 1 and fit in memory, got 0.\n"
        "  - width must be within 2 to 16, got 1.");
  CHECK(error_of([] {
          mixers::ShortConvolution({.channels = 2, .width = 2, .weight = {HUGE_VALF}, .bias = {1}});
        }) ==
        "posenc::mixers::ShortConvolution: 3 problems\n"
        "  - weight must have 2 numbers for each of the 2 channels, got 1.\n"
        "  - bias must have a number for each of the 2 channels, got 1.\n"
        "  - weight and bias must be finite.");
  CHECK(
      error_of(
          [&] { mixers::convolve(x.view().slice(0, 11), x.view().slice(1, 11), of, states); }) ==
      "posenc::mixers::convolve: 2 problems\n"
      "  - out must not overlap x, unless it is x.\n"
      "  - the state is of 4 sequences, but the call has 1: give slots to continue some of them.");
}

}  // namespace mixers_test::selective_scan_cases
