// SPDX-License-Identifier: MIT
//
// Outputs and states of the references of Mamba, Mamba-3 and the short convolution in float64
// (tests/golden/make_scans.py). The file has results only: inputs are drawn here, in the script's order.
#if __has_include(<nlohmann/json.hpp>)

#include "support/catch.hpp"
#include "support/draw.hpp"

#include <posenc/mixers/mixers.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace mixers_test::golden_scans_cases {

using namespace posenc;
using namespace posenc::mixers;
using posenc_test::Draw;

/// A tensor with its memory.
struct Numbers {
  std::vector<float> data;
  Index tokens, heads, width;
  [[nodiscard]] TensorView<const float> from(Index first, Index count) const {
    return TensorView<const float>(data.data(), tokens, heads, width).slice(first, count);
  }
  [[nodiscard]] TensorView<float> view() { return {data.data(), tokens, heads, width}; }
};

class Inputs {
 public:
  explicit Inputs(std::uint64_t seed) : draw_(seed) {}
  Numbers operator()(Index tokens, Index heads, Index width, double factor = 1, double offset = 0) {
    return {draw_(tokens * heads * width, factor, offset), tokens, heads, width};
  }
  std::vector<float> list(Index n, double factor = 1, double offset = 0) {
    return draw_(n, factor, offset);
  }

 private:
  Draw draw_;
};

/// Results against those of the file.
void check(const nlohmann::json& entry, const char* key, const std::vector<float>& got) {
  const auto wanted = entry.at(key).get<std::vector<double>>();
  REQUIRE(wanted.size() == got.size());
  double worst = 0, greatest = 1;
  for (std::size_t i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(got[i]) - wanted[i]));
    greatest = std::max(greatest, std::abs(wanted[i]));
  }
  INFO(key);
  CHECK(worst <= 4e-6 * greatest);
}

void check_mamba(const nlohmann::json& entry, Inputs& draw, Index T) {
  const Index E = entry.at("channels"), N = entry.at("states");
  const Numbers u = draw(T, 1, E), dt = draw(T, 1, E, 2), B = draw(T, 1, N), C = draw(T, 1, N),
                z = draw(T, 1, E);
  Mamba of{.d_inner = E, .d_state = N};
  of.A_log = draw.list(E * N, 2), of.dt_bias = draw.list(E, 2, -2), of.D = draw.list(E);
  const std::vector<float> before = draw.list(E * N);
  const SelectiveScan by(of);
  const auto in = [&](Index first, Index count) {
    return ScanInputs{.u = u.from(first, count),
                      .dt = dt.from(first, count),
                      .B = B.from(first, count),
                      .C = C.from(first, count),
                      .z = z.from(first, count)};
  };
  for (int form = 0; form < 3; ++form) {
    State state = by.state();
    for (Index i = 0; i < E * N; ++i)
      state.matrices()(i % N, i / N / 16, i / N % 16) = before[static_cast<std::size_t>(i)];
    Numbers out{std::vector<float>(u.data.size()), T, 1, E};
    if (form == 0) scan(in(0, T), out.view(), by, state);
    if (form == 1) parallel(in(0, T), out.view(), by, state);
    for (Index t = 0; form == 2 && t < T; ++t) step(in(t, 1), out.view().slice(t, 1), by, state);
    check(entry, "out", out.data);
    std::vector<float> last;
    for (Index i = 0; i < E * N; ++i)
      last.push_back(state.matrices()(i % N, i / N / 16, i / N % 16));
    check(entry, "state", last);
  }
}

void check_convolution(const nlohmann::json& entry, Inputs& draw, Index T) {
  const Index E = entry.at("channels"), W = entry.at("width");
  const Numbers x = draw(T, 1, E);
  ShortConv of{.channels = E, .width = W};
  of.weight = draw.list(E * W), of.bias = draw.list(E);
  const Numbers before = draw(W - 1, 1, E);
  const ShortConvolution by(of);
  State state = by.state();
  for (Index i = 0; i < (W - 1) * E; ++i)
    state.matrices()(i / E, 0, i % E) = before.data[static_cast<std::size_t>(i)];
  Numbers out{std::vector<float>(x.data.size()), T, 1, E};
  convolve(x.from(0, T), out.view(), by, state);
  check(entry, "out", out.data);
  std::vector<float> last;
  for (Index i = 0; i < (W - 1) * E; ++i) last.push_back(state.matrices()(i / E, 0, i % E));
  check(entry, "state", last);
}

void check_mamba3(const nlohmann::json& entry, Inputs& draw, Index T) {
  const Index H = entry.at("heads"), G = entry.at("groups"), N = entry.at("keys"),
              P = entry.at("values");
  Mamba3 of{
      .nheads = H, .headdim = P, .d_state = N, .ngroups = G, .rope_fraction = entry.at("fraction")};
  const Numbers x = draw(T, H, P), B = draw(T, G, N), C = draw(T, G, N), z = draw(T, H, P),
                dt = draw(T, H, 1, 0.5, 0.5), decay = draw(T, H, 1, 1, -1), trap = draw(T, H, 1, 4),
                angles = draw(T, H, of.pairs(), 2);
  of.B_bias = draw.list(H * N), of.C_bias = draw.list(H * N), of.D = draw.list(H);
  const TrapezoidalScan by(of);
  const Numbers S = draw(H, N, P), k = draw(1, H, N), v = draw(1, H, P),
                theta = draw(1, H, of.pairs());
  const auto in = [&](Index first, Index count) {
    return Mamba3Inputs{.x = x.from(first, count),
                        .B = B.from(first, count),
                        .C = C.from(first, count),
                        .dt = dt.from(first, count),
                        .decay = decay.from(first, count),
                        .trap = trap.from(first, count),
                        .angles = angles.from(first, count),
                        .z = z.from(first, count)};
  };
  for (const bool by_token : {false, true}) {
    // S lies as [heads][keys][values].
    Numbers last_S = S, last_k = k, last_x = v;
    std::vector<double> last_theta(theta.data.begin(), theta.data.end());
    const Mamba3State::Parts parts{
        {last_S.data.data(), N, H, P, P, N * P},
        last_k.view(),
        last_x.view(),
        {last_theta.data(), 1, H, of.pairs()},
    };
    Mamba3State state(by);
    state.read(0, parts);
    Numbers out{std::vector<float>(x.data.size()), T, H, P};
    if (!by_token) chunked(in(0, T), out.view(), by, state);
    for (Index t = 0; by_token && t < T; ++t) step(in(t, 1), out.view().slice(t, 1), by, state);
    state.write(0, parts);
    check(entry, "out", out.data);
    check(entry, "state", last_S.data);
    check(entry, "k", last_k.data);
    check(entry, "x", last_x.data);
    const auto wanted = entry.at("theta").get<std::vector<double>>();
    for (std::size_t i = 0; i < wanted.size(); ++i)
      CHECK(std::abs(std::remainder(wanted[i] - last_theta[i], 2 * 3.141592653589793)) < 1e-8);
  }
}

TEST_CASE("scans: the reference implementations", "[mixers][golden]") {
  std::ifstream stream(POSENC_GOLDEN_DIR "/scans.json");
  REQUIRE(stream);
  const nlohmann::json file = nlohmann::json::parse(stream);
  std::map<std::string, int> counts;
  for (const auto& entry : file.at("cases")) {
    const std::string name = entry.at("operator");
    INFO(name << ", seed " << entry.at("seed"));
    ++counts[name];
    Inputs draw(entry.at("seed").get<std::uint64_t>());
    const Index T = entry.at("tokens");
    if (name == "Mamba") check_mamba(entry, draw, T);
    if (name == "ShortConvolution") check_convolution(entry, draw, T);
    if (name == "Mamba3") check_mamba3(entry, draw, T);
  }
  CHECK(counts.size() == 3);
  for (const auto& [name, count] : counts) CHECK(count >= 20);
}

}  // namespace mixers_test::golden_scans_cases

#endif
