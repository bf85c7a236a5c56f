// SPDX-License-Identifier: MIT
//
// Outputs of S4D, S4 and Hyena in float64 (tests/golden/make_convolutions.py). The file has results only: parameters
// and inputs are drawn here, in the script's order.
#if __has_include(<nlohmann/json.hpp>)

#include "oracle.hpp"
#include "support/draw.hpp"

#include <posenc/mixers/convolution/hyena.hpp>
#include <posenc/mixers/convolution/s4.hpp>
#include <posenc/mixers/convolution/s4d.hpp>
#include <posenc/mixers/convolution/state_space.hpp>

#include <nlohmann/json.hpp>

#include <fstream>
#include <map>

namespace convolution_test::golden_cases {

using namespace posenc::mixers;

using posenc_test::Draw;

template <class M>
void check_state_space(const nlohmann::json& entry, M of) {
  const Index tokens = entry.at("tokens"), channels = of.d_model, pairs = of.d_state / 2;
  Draw draw(entry.at("seed"));
  of.log_dt = draw(channels, 2, -4);
  of.C = draw(channels * pairs * 2);
  of.D = draw(channels);
  const std::vector<float> u = draw(tokens * channels);
  const auto expected = entry.at("out").template get<std::vector<double>>(),
             last = entry.at("state").template get<std::vector<double>>();
  const StateSpace by(of);
  const LongConvolution kernel(of.kernel(tokens), channels);
  for (int form = 0; form < 3; ++form) {
    StateSpaceState state(by);
    std::vector<float> y(u.size());
    if (form == 0)
      recurrent(view_of(u, tokens), result_of(y, tokens), by, state);
    else
      convolved(view_of(u, tokens), result_of(y, tokens), by, kernel, state, 0,
                {.form = form == 1 ? ConvolutionForm::direct : ConvolutionForm::transforms});
    CHECK(worst(y, expected) <= 2e-7 * (1 + greatest(expected)));
    double off = 0;
    std::size_t i = 0;
    for (Index c = 0; c < channels; ++c)
      for (Index n = 0; n < pairs; ++n, i += 2)
        off = std::max(off,
                       std::abs(state.get(0, c, n) - std::complex<double>(last[i], last[i + 1])));
    CHECK(off <= 1e-8 * (1 + greatest(last)));
  }
}

void check_hyena(const nlohmann::json& entry) {
  const Index tokens = entry.at("tokens"), channels = entry.at("channels"),
              order = entry.at("order"), l_max = entry.at("l_max"), width = entry.at("width"),
              emb_dim = entry.at("emb_dim");
  Draw draw(entry.at("seed"));
  const std::vector<float> in = draw(tokens * (order + 1) * channels);
  Hyena of = Hyena::initial(channels, l_max, 1, order, width, emb_dim);
  of.short_weight = draw((order + 1) * channels * 3), of.short_bias = draw((order + 1) * channels);
  of.filter.in_weight = draw(width * emb_dim), of.filter.in_bias = draw(width);
  of.filter.inner_weight = draw(2 * width * width, 0.25), of.filter.inner_bias = draw(2 * width);
  of.filter.freq = draw(width, 0.5, 1);
  of.filter.out_weight = draw((order - 1) * channels * width, 0.25);
  of.filter.bias = draw((order - 1) * channels);
  const auto expected = entry.at("out").get<std::vector<double>>(),
             filter = entry.at("filter").get<std::vector<double>>();
  const std::vector<double> h = of.filter.filters(l_max);
  CHECK(worst(std::vector<double>(h.end() - l_max, h.end()), filter) <= 1e-10);
  const HyenaOperator by(of);
  for (const ConvolutionForm form : {ConvolutionForm::direct, ConvolutionForm::transforms}) {
    HyenaState state(by);
    std::vector<float> y(static_cast<std::size_t>(tokens * channels));
    hyena(TensorView<const float>(in.data(), tokens, order + 1, channels), result_of(y, tokens), by,
          state, {.form = form});
    CHECK(worst(y, expected) <= 1e-6 * (1 + greatest(expected)));
  }
}

TEST_CASE("golden: long convolutions", "[convolution][golden]") {
  std::ifstream stream(std::string(POSENC_GOLDEN_DIR) + "/convolutions.json");
  REQUIRE(stream);
  const nlohmann::json file = nlohmann::json::parse(stream);
  std::map<std::string, int> counts;
  for (const auto& entry : file.at("cases")) {
    std::string name = entry.at("mixer");
    INFO(name << ", seed " << entry.at("seed"));
    const Index channels = entry.at("channels");
    if (name == "S4D") {
      const std::string init = entry.at("init"), rule = entry.at("rule");
      name += init + rule;
      S4D of = S4D::initial(channels, 1,
                            init == "lin"   ? S4DInit::lin
                            : init == "inv" ? S4DInit::inv
                                            : S4DInit::legs,
                            entry.at("d_state"));
      of.discretisation = rule == "zoh" ? Discretisation::zoh : Discretisation::bilinear;
      check_state_space(entry, of);
    } else if (name == "S4") {
      check_state_space(entry, S4::initial(channels, 1, entry.at("d_state")));
    } else {
      check_hyena(entry);
    }
    ++counts[name];
  }
  CHECK(counts.size() == 8);
  for (const auto& [name, count] : counts) CHECK(count >= 20);
}

}  // namespace convolution_test::golden_cases

#endif
