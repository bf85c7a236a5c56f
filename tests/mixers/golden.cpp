// SPDX-License-Identifier: MIT
//
// Outputs and states of the reference implementations in float64 (tests/golden/make_mixers.py). The file has results
// only: inputs are drawn here, in the script's order.
#if __has_include(<nlohmann/json.hpp>)

#include "golden_case.hpp"
#include "support/catch.hpp"

#include <nlohmann/json.hpp>

#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace mixers_test::golden_cases {

TEST_CASE("mixers: the reference implementations", "[mixers][golden]") {
  std::ifstream stream(POSENC_GOLDEN_DIR "/mixers.json");
  REQUIRE(stream);
  const nlohmann::json file = nlohmann::json::parse(stream);
  std::map<std::string, int> counts;
  for (const auto& entry : file.at("cases")) {
    const std::string name = entry.at("mixer");
    const Index T = entry.at("tokens"), K = entry.at("key_dim"), V = entry.at("value_dim");
    INFO(name << ", seed " << entry.at("seed"));
    ++counts[name];
    const Case one = make(name, entry.at("seed"), T, K, V);
    const Shape& shape = one.mixer.shape();
    const auto view = [&](const std::vector<float>& x, Index heads) {
      return TensorView<const float>(x.data(), T, heads, std::ssize(x) / (T * heads));
    };
    Inputs in{.q = view(one.q, shape.key_heads),
              .k = view(one.k, shape.key_heads),
              .v = view(one.v, shape.heads)};
    if (!one.decay.empty()) in.decay = view(one.decay, shape.heads);
    if (!one.beta.empty()) in.beta = view(one.beta, shape.heads);
    const auto out = entry.at("out").get<std::vector<double>>(),
               last = entry.at("state").get<std::vector<double>>();
    for (int form = 0; form < 3; ++form) {
      State state(one.mixer);
      for (Index h = 0, i = 0; h < shape.heads; ++h)
        for (Index c = 0; c < K; ++c)
          for (Index j = 0; j < V; ++j)
            state.matrices()(c, h, j) = one.state[static_cast<std::size_t>(i++)];
      std::vector<float> got(out.size());
      const TensorView<float> result(got.data(), T, shape.heads, V);
      if (form == 0) chunked(in, result, one.mixer, state);
      if (form == 1) parallel(in, result, one.mixer, state);
      if (form == 2)
        for (Index t = 0; t < T; ++t) {
          const auto row = [&](const std::vector<float>& x, Index heads) {
            return view(x, heads).slice(t, 1);
          };
          Inputs now{.q = row(one.q, shape.key_heads),
                     .k = row(one.k, shape.key_heads),
                     .v = row(one.v, shape.heads)};
          if (!one.decay.empty()) now.decay = row(one.decay, shape.heads);
          if (!one.beta.empty()) now.beta = row(one.beta, shape.heads);
          step(now, result.slice(t, 1), one.mixer, state);
        }
      double worst = 0, greatest = 1;
      for (std::size_t i = 0; i < out.size(); ++i) {
        worst = std::max(worst, std::abs(got[i] - out[i]));
        greatest = std::max(greatest, std::abs(out[i]));
      }
      CHECK(worst <= 4e-6 * greatest);
      worst = 0, greatest = 1;
      std::size_t i = 0;
      for (Index h = 0; h < shape.heads; ++h)
        for (Index c = 0; c < K; ++c)
          for (Index j = 0; j < V; ++j, ++i) {
            worst = std::max(worst, std::abs(state.matrices()(c, h, j) - last[i]));
            greatest = std::max(greatest, std::abs(last[i]));
          }
      CHECK(worst <= 4e-6 * greatest);
    }
  }
  CHECK(counts.size() == 13);
  for (const auto& [name, count] : counts) CHECK(count >= 20);
}

TEST_CASE("mixers: gradients of the reference by autograd", "[mixers][golden]") {
  std::ifstream stream(POSENC_GOLDEN_DIR "/mixer_gradients.json");
  REQUIRE(stream);
  const nlohmann::json file = nlohmann::json::parse(stream);
  std::map<std::string, int> counts;
  for (const auto& entry : file.at("cases")) {
    const std::string name = entry.at("mixer");
    const std::uint64_t seed = entry.at("seed");
    const Index T = entry.at("tokens"), K = entry.at("key_dim"), V = entry.at("value_dim");
    INFO(name << ", seed " << seed);
    ++counts[name];
    const Case one = make(name, seed, T, K, V);
    const Shape& shape = one.mixer.shape();
    const auto view = [&](auto& x, Index heads) {
      return TensorView(x.data(), T, heads, std::ssize(x) / (T * heads));
    };
    Inputs in{.q = view(one.q, shape.key_heads),
              .k = view(one.k, shape.key_heads),
              .v = view(one.v, shape.heads)};
    if (!one.decay.empty()) in.decay = view(one.decay, shape.heads);
    if (!one.beta.empty()) in.beta = view(one.beta, shape.heads);
    if (!one.removal.empty()) in.removal = view(one.removal, shape.heads);
    Draw draw(seed + 500000);
    const std::vector<float> d_out = draw(T * shape.heads * V), d_last = draw(shape.heads * K * V);
    State before(one.mixer), d_state(one.mixer);
    const auto fill = [&](State& state, const std::vector<float>& x) {
      std::size_t i = 0;
      for (Index h = 0; h < shape.heads; ++h)
        for (Index c = 0; c < K; ++c)
          for (Index j = 0; j < V; ++j) state.matrices()(c, h, j) = x[i++];
    };
    fill(before, one.state), fill(d_state, d_last);
    std::vector<float> dq(one.q.size()), dk(one.k.size()), dv(one.v.size()), dd(one.decay.size()),
        d_beta(one.beta.size()), d_removal(one.removal.size());
    RecurrenceGradients learned(one.mixer);
    Gradients to{.q = view(dq, shape.key_heads),
                 .k = view(dk, shape.key_heads),
                 .v = view(dv, shape.heads),
                 .learned = &learned};
    if (!dd.empty()) to.decay = view(dd, shape.heads);
    if (!d_beta.empty()) to.beta = view(d_beta, shape.heads);
    if (!d_removal.empty()) to.removal = view(d_removal, shape.heads);
    backward(in, view(d_out, shape.heads), before, d_state, to, one.mixer);
    const Recurrence& of = one.mixer.recurrence();
    const auto compare = [&](const char* what, const auto& got) {
      INFO(what);
      const auto wanted = entry.at("gradients").at(what).get<std::vector<double>>();
      REQUIRE(std::size(got) == wanted.size());
      double worst = 0, greatest = 1;
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(got[i]) - wanted[i]));
        greatest = std::max(greatest, std::abs(wanted[i]));
      }
      CHECK(worst <= 1e-5 * greatest);
    };
    compare("q", dq), compare("k", dk), compare("v", dv);
    if (!dd.empty()) compare("decay", dd);
    if (!d_beta.empty()) compare("beta", d_beta);
    if (!d_removal.empty()) compare("removal", d_removal);
    std::vector<float> of_state;
    for (Index h = 0; h < shape.heads; ++h)
      for (Index c = 0; c < K; ++c)
        for (Index j = 0; j < V; ++j) of_state.push_back(d_state.matrices()(c, h, j));
    compare("state", of_state);
    if (of.reads_before()) compare("bonus", learned.bonus);
    if (!of.skip.empty()) compare("skip", learned.skip), compare("dt_bias", learned.biases);
    std::vector<double> chained;  // parameters as the mixer has them: exponentials
    for (std::size_t h = 0; h < learned.rates.size() && name == "Mamba2"; ++h)
      chained.push_back(learned.rates[h] * static_cast<double>(of.rates[h]));
    if (name == "Mamba2") compare("A_log", chained);
    for (std::size_t i = 0; i < learned.log_decay.size() && name == "RWKV5"; ++i)
      chained.push_back(learned.log_decay[i] * of.log_decay[i]);
    if (name == "RWKV5") compare("time_decay", chained);
  }
  CHECK(counts.size() == 14);
  for (const auto& [name, count] : counts) CHECK(count >= 6);
}

}  // namespace mixers_test::golden_cases

#endif
