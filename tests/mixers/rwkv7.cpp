// SPDX-License-Identifier: MIT
//
// RWKV-7: the reference implementations (tests/golden/make_rwkv.py), what else it must be equal to, decays at their ends.
#include "cases.hpp"
#include "support/cases.hpp"
#include "support/catch.hpp"
#include "support/draw.hpp"

#include <posenc/eigen.hpp>

#include <limits>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>

#include <fstream>
#endif

namespace mixers_test::rwkv7_cases {

using namespace posenc::mixers;
using posenc_test::Draw;

double worst(const std::vector<double>& wanted, const TensorView<const float>& got) {
  double most = 0, greatest = 1;
  std::size_t i = 0;
  for (Index t = 0; t < got.tokens; ++t)
    for (Index h = 0; h < got.heads; ++h)
      for (Index c = 0; c < got.width; ++c, ++i) {
        most = std::max(most, std::abs(static_cast<double>(got(t, h, c)) - wanted[i]));
        greatest = std::max(greatest, std::abs(wanted[i]));
      }
  return most / greatest;
}

#if __has_include(<nlohmann/json.hpp>)
TEST_CASE("rwkv7: the reference implementations, from the projections to the output",
          "[mixers][golden]") {
  std::ifstream stream(POSENC_GOLDEN_DIR "/rwkv.json");
  REQUIRE(stream);
  const nlohmann::json file = nlohmann::json::parse(stream);
  int count = 0;
  for (const auto& entry : file.at("cases")) {
    if (entry.at("mixer") != "RWKV7") continue;
    ++count;
    constexpr Index heads = 2;
    const Index tokens = entry.at("tokens"), width = entry.at("width");
    INFO("seed " << entry.at("seed"));
    Draw draw(entry.at("seed").get<std::uint64_t>());
    const Index all = tokens * heads * width, of_layer = heads * width;
    auto r = draw(all), x = draw(all, 6), key = draw(all), v = draw(all), a = draw(all, 0.5, 0.5);
    auto k_k = draw(of_layer), k_a = draw(of_layer), r_k = draw(of_layer), weight = draw(of_layer),
         bias = draw(of_layer), start = draw(of_layer * width);
    const auto numbers = [&](const char* name) {
      return entry.at(name).get<std::vector<double>>();
    };
    const auto view = [&](std::vector<float>& of) {
      return TensorView<float>(of.data(), tokens, heads, width);
    };
    std::vector<float> removal(key.size()), out(key.size());
    rwkv7::keys(view(key), view(a), {.k_k = k_k, .k_a = k_a}, view(removal));
    CHECK(worst(numbers("removal"), view(removal)) <= 1e-6);
    CHECK(worst(numbers("key"), view(key)) <= 1e-6);

    const Mixer mixer(RWKV7{.num_heads = heads, .head_size = width});
    for (int form = 0; form < 3; ++form) {
      State state(mixer);
      for (Index h = 0, i = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c)
          for (Index j = 0; j < width; ++j) state.matrices()(c, h, j) = start[size(i++)];
      const auto inputs = [&](Index first, Index n) {
        return RWKV7::inputs(view(r).slice(first, n), view(x).slice(first, n),
                             view(key).slice(first, n), view(v).slice(first, n),
                             view(removal).slice(first, n), view(a).slice(first, n));
      };
      if (form == 0) chunked(inputs(0, tokens), view(out), mixer, state);
      if (form == 1) parallel(inputs(0, tokens), view(out), mixer, state);
      if (form == 2)
        for (Index t = 0; t < tokens; ++t) step(inputs(t, 1), view(out).slice(t, 1), mixer, state);
      CHECK(worst(numbers("out"), view(out)) <= 4e-6);
      std::vector<double> last(size(of_layer * width));
      const std::vector<double> wanted = numbers("state");  // [heads][keys][values]
      for (Index c = 0; c < width; ++c)
        for (Index h = 0; h < heads; ++h)
          for (Index j = 0; j < width; ++j)
            last[size((c * heads + h) * width + j)] = wanted[size((h * width + c) * width + j)];
      CHECK(worst(last, state.matrices()) <= 4e-6);
    }
    head_norm(view(out), {.eps = 64e-5, .centred = true, .weight = weight, .bias = bias});
    rwkv7::add_bonus(view(r), view(key), view(v), r_k, view(out));
    CHECK(worst(numbers("block"), view(out)) <= 2e-4);  // the norm divides by as little as 1/40
  }
  CHECK(count >= 20);
}
#endif

Entry entry_of(const RWKV7& mixer) {
  return {"RWKV7",
          {"RWKV7", "", mixer.logits ? -6.0 : -2.0, mixer.logits ? 6.0 : 0.0},
          Mixer(mixer),
          [mixer](const Raw& raw) { return formula(mixer, raw); }};
}
void fill(const TensorView<float>& x, float value) {
  for (Index t = 0; t < x.tokens; ++t)
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c) x(t, h, c) = value;
}
double difference(const TensorView<const float>& a, const TensorView<const float>& b) {
  double most = 0;
  for (Index t = 0; t < a.tokens; ++t)
    for (Index h = 0; h < a.heads; ++h)
      for (Index c = 0; c < a.width; ++c)
        most = std::max(most, std::abs(static_cast<double>(a(t, h, c) - b(t, h, c))));
  return most;
}

TEST_CASE("rwkv7: a delta rule whose removal vector is the written key is DeltaNet", "[mixers]") {
  const Index heads = 2, width = 24;
  const Entry entry = entry_of({.num_heads = heads, .head_size = width, .logits = false});
  Call call(entry, 150, 3);
  fill(call.decay.view(), 0);  // nothing decays
  Tensor<float> beta(call.tokens, heads, 1);
  Call::draw(beta.view(), 8, 0, 1);
  for (Index t = 0; t < call.tokens; ++t)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < width; ++c) {
        call.beta.view()(t, h, c) = beta.view()(t, h, 0);
        call.k.view()(t, h, c) = beta.view()(t, h, 0) * call.removal.view()(t, h, c);
      }
  const Mixer delta(DeltaNet{.num_heads = heads, .key_dim = width, .value_dim = width, .scale = 1});
  State state = call.state(5), other(delta);
  other.copy(state, 0, 0);
  Tensor<float> out = call.outputs(), wanted = call.outputs();
  chunked(call.inputs(), out.view(), entry.mixer, state);
  chunked({.q = call.q.view(), .k = call.removal.view(), .v = call.v.view(), .beta = beta.view()},
          wanted.view(), delta, other);
  CHECK(difference(out, wanted) < 2e-5);
  CHECK(difference(state.matrices(), other.matrices()) < 2e-5);
}

TEST_CASE("rwkv7: what is not removed decays, as in GLA", "[mixers]") {
  const Index heads = 2, width = 24;
  const Entry entry = entry_of({.num_heads = heads, .head_size = width, .logits = false});
  Call call(entry, 150, 4);
  fill(call.beta.view(), 0);
  const Mixer gla(
      GLA{.num_heads = heads, .key_dim = width, .value_dim = width, .logits = false, .scale = 1});
  State state = call.state(5), other(gla);
  other.copy(state, 0, 0);
  Tensor<float> out = call.outputs(), wanted = call.outputs();
  chunked(call.inputs(), out.view(), entry.mixer, state);
  chunked({.q = call.q.view(), .k = call.k.view(), .v = call.v.view(), .decay = call.decay.view()},
          wanted.view(), gla, other);
  CHECK(difference(out, wanted) < 2e-5);
}

TEST_CASE("rwkv7: chunks as a whole and in blocks agree where decays are near 1", "[mixers]") {
  const Index heads = 2, width = 40;
  for (const double ends : {1.0, 8.0, 40.0}) {
    const Entry whole = entry_of({.num_heads = heads, .head_size = width});
    const Entry blocks = entry_of({.num_heads = heads, .head_size = width, .logits = false});
    CHECK(whole.mixer.recurrence().whole_chunks());
    CHECK_FALSE(blocks.mixer.recurrence().whole_chunks());
    Call call(whole, 200, 6), logs(blocks, 200, 6);
    Call::draw(call.decay.view(), 9, -ends, ends);
    for (Index t = 0; t < 200; ++t)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c)
          logs.decay.view()(t, h, c) = static_cast<float>(
              -std::exp(-0.5) / (1 + std::exp(-static_cast<double>(call.decay.view()(t, h, c)))));
    State state = call.state(5), other = state;
    Tensor<float> out = call.outputs(), wanted = call.outputs();
    chunked(call.inputs(), out.view(), whole.mixer, state);
    chunked(logs.inputs(), wanted.view(), blocks.mixer, other);
    CHECK(difference(out, wanted) < 5e-5);
  }
}

void check_forms(const Call& call) {
  const State start = call.state(1);
  const Expected expected(call, start);
  Tensor<float> out = call.outputs();
  State state = start;
  chunked(call.inputs(), out.view(), call.entry.mixer, state);
  CHECK(expected.worst_ratio(out, state, 64) <= 1);
  if (call.tokens > 2000) return;
  state = start;
  steps(call, out.view(), state);
  CHECK(expected.worst_ratio(out, state, 1) <= 1);
}

TEST_CASE("rwkv7: decays at their ends", "[mixers]") {
  const Entry entry = entry_of({.num_heads = 1, .head_size = 8});
  const float inf = std::numeric_limits<float>::infinity();
  for (const float x : {-inf, -200.0F, -17.0F, 0.0F, 30.0F, 200.0F, inf}) {
    INFO("logit " << x);
    Call call(entry, 700, 5);
    fill(call.decay.view(), x);
    check_forms(call);
  }
  const Entry logs = entry_of({.num_heads = 1, .head_size = 8, .logits = false});
  for (const double decay : {1 - 0x1p-16, 0.999, 0.5, 0.1, 1e-8, 0.0}) {
    INFO("decay " << decay);
    Call call(logs, 700, 5);
    fill(call.decay.view(), static_cast<float>(std::log(decay)));
    check_forms(call);
  }
}

TEST_CASE("rwkv7: 131,072 tokens", "[mixers]") {
  const Index tokens = posenc_test::percent_of_cases() < 100 ? 16'384 : 131'072;
  const Entry entry = entry_of({.num_heads = 1, .head_size = 4});
  for (const double least : {-12.0, -6.0}) {
    INFO("logits from " << least);
    Call call(entry, tokens, 5);
    Call::draw(call.decay.view(), 3, least, -least);
    check_forms(call);
  }
}

TEST_CASE("rwkv7: keys of length zero, elements of 16 bits, sentences", "[mixers]") {
  std::vector<float> k{0, 0, 3, 4}, a{0.5F, 0.5F, 1, 0}, kk(4), ones{1, 1, 1, 1}, k_a{1, 1, 1, 1};
  const auto view = [](std::vector<float>& x) { return TensorView<float>(x.data(), 1, 2, 2); };
  std::vector<Eigen::bfloat16> half_k, half_kk(4);
  for (const float x : k) half_k.push_back(narrow<Eigen::bfloat16>(x));
  rwkv7::keys(TensorView(half_k.data(), 1, 2, 2), view(a), {.k_k = ones, .k_a = k_a},
              TensorView(half_kk.data(), 1, 2, 2));
  rwkv7::keys(view(k), view(a), {.k_k = ones, .k_a = k_a}, view(kk));
  CHECK(k == std::vector<float>{0, 0, 3, 0});
  CHECK(kk == std::vector<float>{0, 0, 0.6F, 0.8F});
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(half_k[i] == narrow<Eigen::bfloat16>(k[i]));
    CHECK(half_kk[i] == narrow<Eigen::bfloat16>(kk[i]));
  }
  const std::vector<float> few{1};
  CHECK_THROWS_WITH(rwkv7::keys(view(k), TensorView<float>(a.data(), 2, 1, 2),
                                {.k_k = few, .k_a = k_a}, view(k)),
                    "posenc::mixers::rwkv7::keys: 3 problems\n"
                    "  - a must have the shape of k, [1, 2, 2], got [2, 1, 2].\n"
                    "  - kk must not overlap k or a.\n"
                    "  - k_k must have 4 numbers, got 1.");
  CHECK_THROWS_WITH(rwkv7::add_bonus(view(a), view(k), view(kk), few, view(ones)),
                    "posenc::mixers::rwkv7::add_bonus: r_k must have 4 numbers, got 1.");
  CHECK(RWKV7::of_width(768).num_heads == 12);
  CHECK_THROWS_WITH(Mixer(RWKV7::of_width(100)),
                    ContainsSubstring("must be at least 1, got 0, 64 and 64."));

  const Entry entry = entry_of({.num_heads = 2, .head_size = 4});
  const Call call(entry, 3, 1);
  State state(entry.mixer);
  Tensor<float> out = call.outputs();
  Inputs in = call.inputs();
  in.removal = {};
  CHECK_THROWS_WITH(chunked(in, out.view(), entry.mixer, state),
                    "posenc::mixers::chunked: removal is missing: it must be [3, 2, 4].");
  in = call.inputs();
  in.beta = TensorView<const float>(call.beta.view().data, 3, 2, 1);
  CHECK_THROWS_WITH(step(in, out.view(), entry.mixer, state),
                    ContainsSubstring("beta is [3, 2, 1] but must be [3, 2, 4]."));
  const Mixer kda(KDA{.num_heads = 2, .key_dim = 4, .value_dim = 4});
  in.removal = call.removal.view();
  CHECK_THROWS_WITH(chunked(in, out.view(), kda, state),
                    "posenc::mixers::chunked: KDA takes no removal vector: what it removes, if "
                    "anything, is found by keys.");
}

struct Removes {
  static constexpr std::string_view name = "Removes";
  void check(Problems&) const {}
  [[nodiscard]] Recurrence recurrence() const { return {.shape = {1, 1, 2, 2}, .removal = true}; }
};
TEST_CASE("rwkv7: a removal vector needs a delta rule and decays by channel", "[mixers]") {
  CHECK_THROWS_WITH(Mixer(Removes{}),
                    "posenc::mixers::Removes: a removal vector goes with the delta rule and decays "
                    "by channel.");
}

}  // namespace mixers_test::rwkv7_cases
