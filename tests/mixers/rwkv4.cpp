// SPDX-License-Identifier: MIT
//
// RWKV-4, token shift and channel mixing: the reference implementation (tests/golden/make_rwkv.py), sums in long double,
// every way to call them.
#include "cases.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"
#include "support/cases.hpp"
#include "support/catch.hpp"
#include "support/draw.hpp"
#include "support/guards.hpp"
#include "support/levels.hpp"
#include "support/tensor.hpp"

#include <posenc/eigen.hpp>

#include <limits>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>

#include <fstream>
#endif

namespace mixers_test::rwkv4_cases {

using namespace posenc::mixers;
using posenc_test::Draw;
using posenc_test::numbers;
using posenc_test::same_bits;

/// Keys within [-gain, gain), values within [-1, 1), and r.
struct Layer {
  WKV wkv;
  Tensor<float> r, k, v;

  Layer(const RWKV4& mixer, Index tokens, double gain = 3,
        Tensor<float>::Memory memory = Tensor<float>::token_major)
      : wkv(mixer), r(tokens, 1, mixer.channels, memory), k(tokens, 1, mixer.channels, memory),
        v(tokens, 1, mixer.channels, memory) {
    r.fill(Random(1), 4), k.fill(Random(2), gain), v.fill(Random(3));
  }
  [[nodiscard]] Index tokens() const { return v.view().tokens; }
  [[nodiscard]] Inputs inputs(Index first, Index n, bool gated = false) const {
    Inputs in{.q = {}, .k = k.view().slice(first, n), .v = v.view().slice(first, n)};
    if (gated) in.q = r.view().slice(first, n);
    return in;
  }
  [[nodiscard]] Tensor<float> outputs() const { return {tokens(), 1, wkv.channels()}; }
};
/// Decays from e^-e^-6 to e^-e^4, from the second on.
RWKV4 mixer_of(Index channels) {
  RWKV4 mixer{.channels = channels};
  for (Index c = 0; c < channels; ++c) {
    mixer.time_decay.push_back(-6 + 10 * static_cast<float>(c) / static_cast<float>(channels));
    mixer.time_first.push_back(static_cast<float>(c % 5) - 2);
  }
  return mixer;
}

/// The sums as they are written, decayed from token to token, relative to the greatest key.
std::vector<Real> expected(const RWKV4& mixer, const Layer& layer, bool gated = false) {
  std::vector<Real> all(size(layer.tokens() * mixer.channels));
  for (Index c = 0; c < mixer.channels; ++c) {
    const Real w = -std::exp(static_cast<Real>(mixer.time_decay[size(c)]));
    const auto key = [&](Index t) { return static_cast<Real>(layer.k.view()(t, 0, c)); };
    Real greatest = key(0), p = 0, q = 0;
    for (Index t = 0; t < layer.tokens(); ++t) greatest = std::max(greatest, key(t));
    for (Index t = 0; t < layer.tokens(); ++t) {
      const Real v = layer.v.view()(t, 0, c),
                 own = std::exp(mixer.time_first[size(c)] + key(t) - greatest);
      const Real gate = gated ? 1 / (1 + std::exp(-static_cast<Real>(layer.r.view()(t, 0, c)))) : 1;
      all[size(t * mixer.channels + c)] = gate * (p + own * v) / (q + own);
      const Real weight = std::exp(key(t) - greatest);
      p = std::exp(w) * p + weight * v;
      q = std::exp(w) * q + weight;
    }
  }
  return all;
}
double worst(const std::vector<Real>& wanted, const TensorView<const float>& got) {
  const std::vector<float> all = numbers(got);
  Real most = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Real error = std::abs(all[i] - wanted[i]);
    most = std::isnan(error) ? HUGE_VALL : std::max(most, error);
  }
  return static_cast<double>(most);
}

#if __has_include(<nlohmann/json.hpp>)
TEST_CASE("rwkv4: the reference implementation", "[mixers][golden]") {
  std::ifstream stream(POSENC_GOLDEN_DIR "/rwkv.json");
  REQUIRE(stream);
  const nlohmann::json file = nlohmann::json::parse(stream);
  int count = 0;
  for (const auto& entry : file.at("cases")) {
    if (entry.at("mixer") != "RWKV4") continue;
    ++count;
    const Index tokens = entry.at("tokens"), width = entry.at("width");
    INFO("seed " << entry.at("seed"));
    Draw draw(entry.at("seed").get<std::uint64_t>());
    const auto k = draw(tokens * width, 4), v = draw(tokens * width);
    RWKV4 mixer{.channels = width};
    mixer.time_decay = draw(width, 4, -3), mixer.time_first = draw(width, 2);
    const auto p = draw(width), q = draw(width, 0.5, 1), o = draw(width, 4);
    const WKV wkv(mixer);
    const auto out = entry.at("out").get<std::vector<double>>(),
               last = entry.at("state").get<std::vector<double>>();
    for (const bool token_by_token : {false, true}) {
      State state = wkv.state();
      const TensorView<float> rows = state.matrices();
      for (Index c = 0; c < width && width % 2 == 0; ++c)
        rows(0, 0, c) = p[size(c)], rows(1, 0, c) = q[size(c)], rows(2, 0, c) = o[size(c)];
      std::vector<float> got(out.size());
      const auto view = [&](auto& x) { return TensorView(x.data(), tokens, 1, width); };
      const Inputs in{.q = {}, .k = view(k), .v = view(v)};
      if (token_by_token)
        for (Index t = 0; t < tokens; ++t)
          step({.q = {}, .k = view(k).slice(t, 1), .v = view(v).slice(t, 1)}, view(got).slice(t, 1),
               wkv, state);
      else
        prefill(in, view(got), wkv, state);
      CHECK(state.tokens() == tokens);
      for (std::size_t i = 0; i < out.size(); ++i)
        CHECK(std::abs(static_cast<double>(got[i]) - out[i]) <= 2e-6);
      for (Index c = 0; c < width; ++c) {
        const double wanted[] = {last[size(c)], last[size(width + c)], last[size(2 * width + c)]};
        CHECK(std::abs(rows(0, 0, c) - wanted[0]) <= 4e-6 * std::max(1.0, std::abs(wanted[0])));
        CHECK(std::abs(rows(1, 0, c) - wanted[1]) <= 4e-6 * wanted[1]);
        CHECK(std::abs(rows(2, 0, c) + rows(3, 0, c) - wanted[2]) <=
              1e-6 * std::max(1.0, std::abs(wanted[2])));
      }
    }
  }
  CHECK(count >= 20);
}
#endif

TEST_CASE("rwkv4: the sums of its paper, at every level", "[mixers]") {
  const RWKV4 mixer = mixer_of(37);
  const Layer layer(mixer, 300);
  posenc_test::at_every_level([&] {
    for (const bool gated : {false, true}) {
      Tensor<float> out = layer.outputs(), steps = layer.outputs();
      State state = layer.wkv.state(), other = state;
      prefill(layer.inputs(0, 300, gated), out.view(), layer.wkv, state);
      CHECK(worst(expected(mixer, layer, gated), out) <= 3e-6);
      for (Index t = 0; t < 300; ++t)
        step(layer.inputs(t, 1, gated), steps.view().slice(t, 1), layer.wkv, other);
      CHECK(same_bits(numbers(out), numbers(steps)));
      CHECK(same_bits(numbers(state.matrices()), numbers(other.matrices())));
    }
  });
}

TEST_CASE("rwkv4: 131,072 tokens, decays from e^-1e-6 on", "[mixers]") {
  const Index tokens = posenc_test::percent_of_cases() < 100 ? 16'384 : 131'072;
  RWKV4 mixer{.channels = 6, .time_decay = {-14, -11, -9, -7, -3, 2}};
  mixer.time_first.assign(6, 0.5F);
  for (const double gain : {0.25, 8.0, 0.0625}) {
    Layer layer(mixer, tokens, gain);
    if (gain == 0.0625)  // the first token weighs much, and its weight decays for long
      for (Index c = 0; c < 6; ++c) {
        for (Index t = 0; t < tokens; ++t) layer.v.view()(t, 0, c) = t == 0 ? 1.0F : -1.0F;
        layer.k.view()(0, 0, c) = 8;
      }
    Tensor<float> out = layer.outputs();
    State state = layer.wkv.state();
    prefill(layer.inputs(0, tokens), out.view(), layer.wkv, state);
    // A rounding for each token of a window that weighs at most all: its root, and more where it is not by chance.
    CHECK(worst(expected(mixer, layer), out) <= 3e-5);
  }
}

TEST_CASE("rwkv4: averages that nothing can make overflow", "[mixers]") {
  const RWKV4 mixer = mixer_of(32);
  for (const double gain : {0x1p6, 0x1p20, 0x1p100}) {
    const Layer layer(mixer, 200, gain);
    Tensor<float> out = layer.outputs();
    State state = layer.wkv.state();
    prefill(layer.inputs(0, 200), out.view(), layer.wkv, state);
    for (Index c = 0; c < 32; ++c) {
      CHECK(out.view()(0, 0, c) == layer.v.view()(0, 0, c));  // the first sees itself alone
      float least = HUGE_VALF, most = -HUGE_VALF;
      for (Index t = 0; t < 200; ++t) {
        least = std::min(least, layer.v.view()(t, 0, c));
        most = std::max(most, layer.v.view()(t, 0, c));
        CHECK((out.view()(t, 0, c) >= least - 1e-6F && out.view()(t, 0, c) <= most + 1e-6F));
      }
    }
  }
  // A number added to all keys has no effect; 1/2 is exact beside them.
  Layer layer(mixer, 200);
  Tensor<float> out = layer.outputs(), shifted = layer.outputs();
  State state = layer.wkv.state(), other = state;
  prefill(layer.inputs(0, 200), out.view(), layer.wkv, state);
  for (Index t = 0; t < 200; ++t)
    for (Index c = 0; c < 32; ++c) layer.k.view()(t, 0, c) += 0.5F;
  prefill(layer.inputs(0, 200), shifted.view(), layer.wkv, other);
  for (Index t = 0; t < 200; ++t)
    for (Index c = 0; c < 32; ++c)
      CHECK(std::abs(out.view()(t, 0, c) - shifted.view()(t, 0, c)) < 2e-6F);
}

TEST_CASE("rwkv4: keys that are no numbers, and decays at their ends", "[mixers]") {
  RWKV4 mixer{.channels = 3, .time_decay = {-200, 200, 0}, .time_first = {0, 0, 1}};
  Layer layer(mixer, 5);
  for (const Index t : {0, 3}) layer.k.view()(t, 0, 0) = -std::numeric_limits<float>::infinity();
  layer.k.view()(2, 0, 2) = std::numeric_limits<float>::quiet_NaN();
  Tensor<float> out = layer.outputs();
  State state = layer.wkv.state();
  prefill(layer.inputs(0, 5), out.view(), layer.wkv, state);
  const auto o = out.view(), v = layer.v.view(), k = layer.k.view();
  CHECK(o(0, 0, 0) == 0);  // nothing to read
  CHECK(o(1, 0, 0) == v(1, 0, 0));
  CHECK(std::abs(o(3, 0, 0) - o(2, 0, 0)) < 1e-6F);  // weighs nothing, and nothing decays
  // What decays at once: a token reads itself and the one before it.
  for (const Index t : {1, 2, 3, 4}) {
    const double before = std::exp(static_cast<double>(k(t - 1, 0, 1))),
                 own = std::exp(static_cast<double>(k(t, 0, 1)));
    CHECK(o(t, 0, 1) ==
          Approx((before * v(t - 1, 0, 1) + own * v(t, 0, 1)) / (before + own)).margin(1e-6));
  }
  CHECK(std::isfinite(o(1, 0, 2)));
  for (const Index t : {2, 3, 4}) CHECK(std::isnan(o(t, 0, 2)));
  state.clear();
  prefill(layer.inputs(0, 2), out.view().slice(0, 2), layer.wkv, state);
  CHECK(std::isfinite(o(1, 0, 2)));
}

TEST_CASE("rwkv4: strides, threads and pieces change no bit, and later tokens none before",
          "[mixers]") {
  const RWKV4 mixer = mixer_of(150);
  const Layer plain(mixer, 180);
  const auto run = [&](const Layer& layer, const Options& options) {
    Tensor<float> out = layer.outputs();
    State state = layer.wkv.state();
    prefill(layer.inputs(0, 180, true), out.view(), layer.wkv, state, options);
    std::vector<float> all = numbers(out), last = numbers(state.matrices());
    all.insert(all.end(), last.begin(), last.end());
    return all;
  };
  const std::vector<float> wanted = run(plain, {});
  for (const auto memory : {Tensor<float>::head_major, Tensor<float>::padded})
    CHECK(same_bits(run(Layer(mixer, 180, 3, memory), {}), wanted));
  for (const Index threads : {2, 3, 7})
    CHECK(same_bits(run(plain, {.executor = posenc_test::Backwards{threads}}), wanted));

  const AnyExecutor executor(posenc_test::Backwards{2});
  const posenc_test::Workspace workspace(workspace_bytes(plain.wkv, executor));
  const Options given{.executor = executor, .workspace = workspace.memory()};
  CHECK(same_bits(run(plain, given), wanted));
  CHECK(workspace.guards_are_whole());
  Tensor<float> out = plain.outputs();
  State state = plain.wkv.state();
  const std::size_t before = posenc_test::allocations();
  prefill(plain.inputs(0, 100), out.view().slice(0, 100), plain.wkv, state, given);
  step(plain.inputs(100, 1), out.view().slice(100, 1), plain.wkv, state, given);
  CHECK(posenc_test::allocations() == before);
  prefill(plain.inputs(101, 79), out.view().slice(101, 79), plain.wkv, state);
  Tensor<float> whole = plain.outputs();
  State other = plain.wkv.state();
  prefill(plain.inputs(0, 180), whole.view(), plain.wkv, other);
  CHECK(same_bits(numbers(out), numbers(whole)));
  Layer changed(mixer, 180);
  changed.k.view()(90, 0, 3) = 7, changed.v.view()(90, 0, 3) = -7;
  other.clear();
  prefill(changed.inputs(0, 180), whole.view(), plain.wkv, other);
  CHECK(same_bits(numbers(out.view().slice(0, 90)), numbers(whole.view().slice(0, 90))));
  CHECK_FALSE(same_bits(numbers(out), numbers(whole)));
}

TEST_CASE("rwkv4: sequences of a ragged batch are calls of their own", "[mixers]") {
  const Layer layer(mixer_of(70), 90);
  const std::vector<Index> starts{0, 1, 1, 40, 90}, slots{4, 0, 3, 1};
  State states = layer.wkv.state(5);
  Tensor<float> out = layer.outputs();
  prefill(layer.inputs(0, 90), out.view(), RaggedBatch{.starts = starts}, layer.wkv, states,
          {.executor = posenc_test::Backwards{3}, .slots = slots});
  for (std::size_t i = 0; i < 4; ++i) {
    const Index first = starts[i], count = starts[i + 1] - first;
    State one = layer.wkv.state();
    Tensor<float> own(count, 1, 70);
    prefill(layer.inputs(first, count), own.view(), layer.wkv, one);
    CHECK(same_bits(numbers(own), numbers(out.view().slice(first, count))));
    CHECK(same_bits(numbers(one.matrices()), numbers(states.matrices(slots[i]))));
    CHECK(states.tokens(slots[i]) == count);
  }
  const std::vector<Index> two{3, 0};
  State stepped = states;
  step(layer.inputs(5, 2), out.view().slice(0, 2), layer.wkv, stepped, {.slots = two});
  for (Index i = 0; i < 2; ++i) {
    State one = layer.wkv.state();
    one.copy(states, two[size(i)], 0);
    Tensor<float> own(1, 1, 70);
    step(layer.inputs(5 + i, 1), own.view(), layer.wkv, one);
    CHECK(same_bits(numbers(own), numbers(out.view().slice(i, 1))));
    CHECK(same_bits(numbers(one.matrices()), numbers(stepped.matrices(two[size(i)]))));
  }
}

template <class T>
void check_elements() {
  Layer layer(mixer_of(50), 60);
  const auto rounded = [](const TensorView<float>& x) {
    std::vector<T> all;
    for (Index t = 0; t < x.tokens; ++t)
      for (Index c = 0; c < x.width; ++c) {
        all.push_back(narrow<T>(x(t, 0, c)));
        x(t, 0, c) = widen(all.back());
      }
    return all;
  };
  const auto r = rounded(layer.r.view()), k = rounded(layer.k.view()), v = rounded(layer.v.view());
  std::vector<T> out(v.size());
  const auto view = [&](auto& x) { return TensorView(x.data(), 60, 1, 50); };
  State state = layer.wkv.state(), other = state;
  prefill({.q = view(r), .k = view(k), .v = view(v)}, view(out), layer.wkv, state);
  Tensor<float> wanted = layer.outputs();
  prefill(layer.inputs(0, 60, true), wanted.view(), layer.wkv, other);
  const std::vector<float> all = numbers(wanted);
  for (std::size_t i = 0; i < out.size(); ++i) CHECK(same_bits(out[i], narrow<T>(all[i])));
  CHECK(same_bits(numbers(state.matrices()), numbers(other.matrices())));
}
TEST_CASE("rwkv4: elements of 16 bits are floats that are rounded once", "[mixers]") {
  check_elements<Eigen::bfloat16>();
  check_elements<Eigen::half>();
}

TEST_CASE("rwkv4: layers begin with the published numbers", "[mixers]") {
  const RWKV4 last = RWKV4::initial(6, 3, 4);  // depth 1
  for (Index c = 0; c < 6; ++c) {
    const double place = static_cast<double>(c) / 5;
    CHECK(last.time_decay[size(c)] == Approx(-5 + 8 * place * place));
    CHECK(last.time_first[size(c)] ==
          Approx(std::log(0.3) + 0.5 * (static_cast<double>((c + 1) % 3) - 1)));
  }
}

TEST_CASE("rwkv4: what is wrong is said in sentences", "[mixers]") {
  CHECK_THROWS_WITH(WKV(RWKV4{.channels = 2, .time_decay = {0}, .time_first = {0, HUGE_VALF}}),
                    "posenc::mixers::RWKV4: 2 problems\n"
                    "  - time_decay must have a number for each of the 2 channels, got 1.\n"
                    "  - time_first must be finite.");
  CHECK_THROWS_WITH(WKV(RWKV4{}), "posenc::mixers::RWKV4: channels must be at least 1, got 0.");
  const Layer layer(mixer_of(8), 4);
  State state = layer.wkv.state(), other{Shape{1, 1, 1, 8}, 2};
  Tensor<float> out = layer.outputs();
  CHECK_THROWS_WITH(
      prefill(layer.inputs(0, 3), out.view(), layer.wkv, other),
      "posenc::mixers::prefill: 3 problems\n"
      "  - out is [4, 1, 8] but must be [3, 1, 8].\n"
      "  - the state is of 1 heads of [1, 8] but RWKV4 has 1 of [4, 8]: make it by WKV::state().\n"
      "  - the state is of 2 sequences, but the call has 1: give slots to continue some of them.");
  Inputs in = layer.inputs(0, 4);
  in.decay = layer.k.view();
  CHECK_THROWS_WITH(prefill(in, out.view(), layer.wkv, state),
                    "posenc::mixers::prefill: RWKV4 takes q, k and v: its decays are parameters, "
                    "and it has no delta rule.");
  in = layer.inputs(0, 1);
  CHECK_THROWS_WITH(step(in, TensorView<float>(const_cast<float*>(layer.v.view().data), 1, 1, 8),
                         layer.wkv, state),
                    "posenc::mixers::step: out must not overlap v.");
  const std::vector<Index> starts{0, 4}, offsets{7};
  CHECK_THROWS_WITH(prefill(layer.inputs(0, 4), out.view(),
                            RaggedBatch{.starts = starts, .offsets = offsets}, layer.wkv, state),
                    ContainsSubstring("so the batch must have no offsets."));
}

TEST_CASE("rwkv4: token shift mixes with the token before, from call to call", "[mixers]") {
  const Index tokens = 40, channels = 300;
  const Tensor<float> x = std::move(Tensor<float>(tokens, 1, channels).fill(Random(1)));
  std::vector<float> a, b;
  for (Index c = 0; c < channels; ++c) {
    a.push_back(static_cast<float>(c) / static_cast<float>(channels - 1));
    b.push_back(0.25F * static_cast<float>(c % 5));
  }
  Tensor<float> first(tokens, 1, channels), second(tokens, 1, channels, Tensor<float>::padded);
  State state = token_shift_state(channels);
  for (const auto& [from, count] : {std::pair<Index, Index>{0, 1}, {1, 0}, {1, 26}, {27, 13}}) {
    const Shifted to[] = {{.mix = a, .out = first.view().slice(from, count)},
                          {.mix = b, .out = second.view().slice(from, count), .of_previous = true}};
    token_shift(x.view().slice(from, count), to, state);
  }
  CHECK(state.tokens() == tokens);
  for (Index t = 0; t < tokens; ++t)
    for (Index c = 0; c < channels; ++c) {
      const float now = x.view()(t, 0, c), last = t > 0 ? x.view()(t - 1, 0, c) : 0;
      CHECK(std::abs(first.view()(t, 0, c) - (a[size(c)] * now + (1 - a[size(c)]) * last)) < 2e-7F);
      CHECK(std::abs(second.view()(t, 0, c) - (now + (last - now) * b[size(c)])) < 2e-7F);
    }
  CHECK(first.view()(9, 0, channels - 1) == x.view()(9, 0, channels - 1));  // mix of 1

  // A batch, and elements of 16 bits.
  const std::vector<Index> starts{0, 15, 40}, slots{2, 0};
  State states = token_shift_state(channels, 3);
  std::vector<Eigen::bfloat16> half(size(tokens * channels));
  const Shifted to[] = {{.mix = a, .out = TensorView(half.data(), tokens, 1, channels)}};
  token_shift(x.view(), to, RaggedBatch{.starts = starts}, states, {.slots = slots});
  for (Index t = 0; t < tokens; ++t)
    for (Index c = 0; c < channels; ++c) {
      const float alone = a[size(c)] * x.view()(t, 0, c);
      CHECK(half[size(t * channels + c)] ==
            narrow<Eigen::bfloat16>(t == 15 ? alone : first.view()(t, 0, c)));
    }
  CHECK(states.matrices(2)(0, 0, 5) == x.view()(14, 0, 5));
  CHECK(states.matrices(0)(0, 0, 5) == x.view()(39, 0, 5));

  Tensor<float> few(2, 1, channels);
  const Shifted wrong[] = {{.mix = std::span(a).first(3), .out = few.view()}};
  CHECK_THROWS_WITH(token_shift(x.view(), wrong, states),
                    "posenc::mixers::token_shift: 3 problems\n"
                    "  - mix must have a number for each of the 300 channels, got 3.\n"
                    "  - out is [2, 1, 300] but must be [40, 1, 300].\n"
                    "  - the state is of 3 sequences, but the call has 1: give slots to continue "
                    "some of them.");
}

TEST_CASE("rwkv4: channel mixing between its projections", "[mixers]") {
  std::vector<float> k{-2, 0, 1.5F, std::numeric_limits<float>::quiet_NaN()}, r{0, 100, -100, 1},
      x{1, 2, 3, 4};
  const auto view = [](std::vector<float>& of) { return TensorView(of.data(), 2, 1, 2); };
  squared_relu(view(k));
  CHECK((k[0] == 0 && k[1] == 0 && k[2] == 2.25F && std::isnan(k[3])));
  receptance(view(r), view(x));
  CHECK((x[0] == 0.5F && x[1] == 2 && x[2] < 1e-40F));
  CHECK(x[3] == Approx(4 / (1 + std::exp(-1.0))));
  std::vector<Eigen::half> half{narrow<Eigen::half>(3.0F), narrow<Eigen::half>(-3.0F)};
  squared_relu(TensorView(half.data(), 1, 1, 2));
  CHECK((widen(half[0]) == 9 && widen(half[1]) == 0));
  CHECK_THROWS_WITH(receptance(TensorView(r.data(), 1, 1, 2), view(x)),
                    "posenc::mixers::receptance: r must have the shape of x, [2, 1, 2], got "
                    "[1, 1, 2].");
}

}  // namespace mixers_test::rwkv4_cases
