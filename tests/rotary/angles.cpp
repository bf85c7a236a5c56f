// SPDX-License-Identifier: MIT
//
// Cosine and sine against long double, and the peers' arithmetic against float32 written out here.
#include <posenc/rotate/token_angles.hpp>

#include "../support/catch.hpp"

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif

#include <algorithm>
#include <cmath>
#include <complex>
#include <fstream>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

using namespace posenc;

namespace angles_cases {

using Real = long double;

Real frequency(double base, Index dim, Index i) {
  return std::pow(static_cast<Real>(base), -2 * static_cast<Real>(i) / static_cast<Real>(dim));
}

RotaryState geometric(double base, Index dim) {
  RotaryState state;
  state.inv_freq = geometric_frequencies(base, dim);
  state.base = base;
  state.head_dim = state.rotary_dim = dim;
  return state;
}

/// Frequencies are off by up to two roundings (rotary_dim is a power of two here, so that the exponent is
/// exact), the angle of what is beyond the digits by one; tabulated cosines and sines and their
/// complex products, a factor for each bit of the position, add some roundings of numbers below one.
Real double_bound(Real angle) { return (4 * std::abs(angle) + 16) * 0x1p-53L; }
/// One more rounding, to float.
Real float_bound(Real angle) { return double_bound(angle) + 0x1p-25L; }

struct Worst {
  Real error = 0;   ///< greatest |error|
  Real excess = 0;  ///< greatest |error| / bound
  void see(Real got, Real expected, Real bound) {
    const Real off = std::abs(got - expected);
    error = std::max(error, off);
    excess =
        std::max(excess, std::isnan(off) ? std::numeric_limits<Real>::infinity() : off / bound);
  }
};

template <class T, class P>
Worst compare(const AngleTable& table, double base, Index dim, P position, Real step = 1) {
  Worst worst;
  std::vector<T> cos(static_cast<std::size_t>(dim / 2)), sin(cos);
  cos_sin(table, position, 0, dim / 2, cos.data(), sin.data());
  for (Index i = 0; i < dim / 2; ++i) {
    const Real angle = static_cast<Real>(position) * step * frequency(base, dim, i);
    const Real bound = std::is_same_v<T, float> ? float_bound(angle) : double_bound(angle);
    worst.see(static_cast<Real>(cos[static_cast<std::size_t>(i)]), std::cos(angle), bound);
    worst.see(static_cast<Real>(sin[static_cast<std::size_t>(i)]), std::sin(angle), bound);
  }
  return worst;
}

std::vector<Position> around_powers(int first, int last) {
  std::vector<Position> positions;
  for (int k = first; k <= last; ++k)
    for (const Position d : {-1, 0, 1}) positions.push_back((Position{1} << k) + d);
  return positions;
}

TEST_CASE("angles: cosine and sine within 1e-7 at every position to 4096") {
  for (const double base : {1e4, 5e5, 1e6, 1e7})
    for (const Index dim : {128, 64}) {
      const AngleTable table(geometric(base, dim));
      const auto pairs = static_cast<std::size_t>(dim / 2);
      std::vector<std::complex<Real>> unit, turn(pairs, 1);  // the oracle: turn by turn
      std::vector<Real> unit_frequency;
      for (Index i = 0; i < dim / 2; ++i) {
        const Real w = frequency(base, dim, i);
        unit_frequency.push_back(w);
        unit.emplace_back(std::cos(w), std::sin(w));
      }
      std::vector<float> cos(pairs), sin(pairs);
      std::vector<double> cos64(pairs), sin64(pairs);
      Worst worst, worst64;
      for (Position p = 0; p <= 4096; ++p) {
        cos_sin(table, p, 0, dim / 2, cos.data(), sin.data());
        cos_sin(table, p, 0, dim / 2, cos64.data(), sin64.data());
        for (std::size_t i = 0; i < pairs; ++i) {
          const Real angle = static_cast<Real>(p) * unit_frequency[i];
          worst.see(static_cast<Real>(cos[i]), turn[i].real(), float_bound(angle));
          worst.see(static_cast<Real>(sin[i]), turn[i].imag(), float_bound(angle));
          worst64.see(static_cast<Real>(cos64[i]), turn[i].real(), double_bound(angle));
          worst64.see(static_cast<Real>(sin64[i]), turn[i].imag(), double_bound(angle));
          turn[i] = {turn[i].real() * unit[i].real() - turn[i].imag() * unit[i].imag(),
                     turn[i].real() * unit[i].imag() + turn[i].imag() * unit[i].real()};
        }
      }
      INFO("base " << base << ", dim " << dim);
      CHECK(worst.error <= 1e-7L);
      CHECK(worst.excess <= 1);
      CHECK(worst64.excess <= 1);
    }
}

TEST_CASE("angles: within 1e-7 around every power of two up to 2^24") {
  for (const double base : {1e4, 5e5, 1e6, 1e7})
    for (const Index dim : {128, 64}) {
      const AngleTable table(geometric(base, dim));
      for (const Position p : around_powers(0, 24)) {
        INFO("base " << base << ", dim " << dim << ", position " << p);
        const Worst single = compare<float>(table, base, dim, p);
        CHECK(single.error <= 1e-7L);
        CHECK(single.excess <= 1);
        CHECK(compare<double>(table, base, dim, p).excess <= 1);
      }
    }
}

TEST_CASE("angles: every carry of the digits, and random positions up to 2^24") {
  const AngleTable table(geometric(1e4, 64));
  std::vector<Position> positions;
  for (const Position unit : {128, 128 * 128, 128 * 128 * 128})
    for (const Position n : {1, 2, 63, 127, 128, 129})
      for (const Position d : {-1, 0, 1}) positions.push_back(unit * n + d);
  std::mt19937_64 random(3);
  for (int i = 0; i < 200; ++i)
    positions.push_back(static_cast<Position>(random() % (std::uint64_t{1} << 24)));
  for (const Position p : positions) {
    INFO("position " << p);
    if (p <= Position{1} << 24) CHECK(compare<float>(table, 1e4, 64, p).error <= 1e-7L);
    CHECK(compare<double>(table, 1e4, 64, p).excess <= 1);
  }
}

TEST_CASE("angles: negative positions turn the other way") {
  const AngleTable table(geometric(5e5, 64));
  for (const Position p : around_powers(0, 24)) {
    INFO("position " << -p);
    CHECK(compare<float>(table, 5e5, 64, -p).error <= 1e-7L);
    CHECK(compare<double>(table, 5e5, 64, -p).excess <= 1);
  }
}

TEST_CASE("angles: no step where the table ends, and as good as double to 2^52") {
  const AngleTable table(geometric(1e6, 128));
  for (const int sign : {1, -1})
    for (const Position p : around_powers(21, 52)) {
      if (p > Position{1} << 52) continue;
      INFO("position " << sign * p);
      CHECK(compare<float>(table, 1e6, 128, sign * p).excess <= 1);
      CHECK(compare<double>(table, 1e6, 128, sign * p).excess <= 1);
    }
}

TEST_CASE("angles: fractional positions") {
  const AngleTable table(geometric(1e4, 128));
  std::mt19937_64 random(4);
  std::uniform_real_distribution<double> draw(-1, 1);
  for (const double p : {0.5, -0.25, 1.0 / 3, 127.5, 16383.999, 2097151.75, 1048576.125})
    CHECK(compare<float>(table, 1e4, 128, p).error <= 1e-7L);
  for (int i = 0; i < 300; ++i) {
    const double p = std::ldexp(draw(random), i % 40);
    INFO("position " << p);
    CHECK(compare<float>(table, 1e4, 128, p).excess <= 1);
    CHECK(compare<double>(table, 1e4, 128, p).excess <= 1);
  }
}

TEST_CASE("angles: a whole real position is that integer, bit for bit") {
  const AngleTable table(geometric(1e4, 64));
  std::vector<double> a(32), b(32), c(32), d(32);
  for (const Position p : {0, 1, -1, 127, 128, 16384, 2097152, 123456789, -5}) {
    cos_sin(table, p, 0, 32, a.data(), b.data());
    cos_sin(table, static_cast<double>(p), 0, 32, c.data(), d.data());
    CHECK(a == c);
    CHECK(b == d);
  }
}

TEST_CASE("angles: positions that no integer holds") {
  // Steps of 1/factor make such positions: a distance of 512 is position 512 * factor.
  for (const int k : {60, 62, 63, 64, 80}) {
    const AngleTable table(geometric(1e4, 64), Angles::exact, std::ldexp(1.0, -k));
    std::vector<float> cos(32), sin(32);
    for (const double sign : {1.0, -1.0}) {
      cos_sin(table, sign * std::ldexp(512.0, k), 0, 32, cos.data(), sin.data());
      Real worst = 0;
      for (Index i = 0; i < 32; ++i) {
        const Real angle = static_cast<Real>(sign) * 512 * frequency(1e4, 64, i);
        worst = std::max(
            worst, std::abs(static_cast<Real>(cos[static_cast<std::size_t>(i)]) - std::cos(angle)));
        worst = std::max(
            worst, std::abs(static_cast<Real>(sin[static_cast<std::size_t>(i)]) - std::sin(angle)));
      }
      INFO("position " << sign << " * 512 * 2^" << k);
      CHECK(worst <= 1e-7L);
    }
  }
}

TEST_CASE("angles: an answer depends on the position alone") {
  const AngleTable table(geometric(5e5, 128)), other(geometric(5e5, 128));
  const std::vector<Position> positions{5, 1'000'000, -3, 0, 131071, 5, 77, 1 << 22, 5};
  std::vector<std::vector<float>> forwards, backwards;
  const auto ask = [](const AngleTable& t, Position p) {
    std::vector<float> both(128);
    cos_sin(t, p, 0, 64, both.data(), both.data() + 64);
    return both;
  };
  for (const Position p : positions) forwards.push_back(ask(table, p));
  for (auto p = positions.rbegin(); p != positions.rend(); ++p) backwards.push_back(ask(other, *p));
  std::reverse(backwards.begin(), backwards.end());
  CHECK(forwards == backwards);
  CHECK(forwards[0] == forwards[5]);
  CHECK(forwards[0] == forwards[8]);
}

TEST_CASE("angles: pieces of a head agree with the whole, in every mode") {
  for (const Angles mode : {Angles::exact, Angles::huggingface, Angles::ggml}) {
    RotaryState state = geometric(1e4, 256);
    state.inv_freq.tail(100) /= 4;
    const AngleTable table(state, mode);
    for (const Position p : {Position{0}, Position{3}, Position{131071}, Position{1} << 23}) {
      std::vector<float> cos(128), sin(128);
      cos_sin(table, p, 0, 128, cos.data(), sin.data());
      for (const auto& [first, count] : std::vector<std::pair<Index, Index>>{
               {0, 1}, {1, 1}, {127, 1}, {5, 40}, {64, 64}, {100, 0}, {128, 0}}) {
        std::vector<float> c(130, 9), s(130, 9);
        cos_sin(table, p, first, count, c.data(), s.data());
        bool same = true;
        for (Index i = 0; i < count; ++i)
          same = same &&
                 c[static_cast<std::size_t>(i)] == cos[static_cast<std::size_t>(first + i)] &&
                 s[static_cast<std::size_t>(i)] == sin[static_cast<std::size_t>(first + i)];
        CHECK(same);
        CHECK(c[static_cast<std::size_t>(count)] == 9);
        CHECK(s[static_cast<std::size_t>(count)] == 9);
      }
    }
  }
}

TEST_CASE("angles: a step multiplies the position") {
  for (const double step : {1.0 / 16, 1.0 / 3, 4.0, 1e-6}) {
    const AngleTable table(geometric(1e4, 64), Angles::exact, step);
    CHECK(table.step() == step);
    CHECK(table.pairs() == 32);
    for (const Position p : {0, 1, 100, -100, 20'000, 1 << 22}) {
      INFO("step " << step << ", position " << p);
      // Frequency times step is rounded once more.
      CHECK(compare<double>(table, 1e4, 64, p, static_cast<Real>(step)).excess <= 1.5L);
    }
  }
}

TEST_CASE("angles: position zero and pairs that do not turn are exact") {
  for (const Angles mode : {Angles::exact, Angles::huggingface, Angles::ggml}) {
    RotaryState state = geometric(1e4, 64);
    state.inv_freq.tail(8).setZero();
    const AngleTable table(state, mode);
    for (const Position p : {Position{0}, Position{1}, Position{4095}, Position{1} << 23}) {
      std::vector<float> cos(32), sin(32);
      cos_sin(table, p, 0, 32, cos.data(), sin.data());
      for (std::size_t i = p == 0 ? 0 : 24; i < 32; ++i) {
        CHECK(cos[i] == 1);
        CHECK(sin[i] == 0);
      }
    }
  }
}

TEST_CASE("angles: no pairs") {
  const AngleTable table(geometric(1e4, 0));
  float nothing = 7;
  cos_sin(table, Position{5}, 0, 0, &nothing, &nothing);
  cos_sin(table, 0.5, 0, 0, &nothing, &nothing);
  CHECK(nothing == 7);
}

// --- The peers ----------------------------------------------------------------------------------

/// Distance of the angle whose cosine and sine these are from the exact one.
Real phase_error(float cos, float sin, Real angle) {
  const Real difference = std::atan2(static_cast<Real>(sin), static_cast<Real>(cos)) - angle;
  return std::abs(std::remainder(difference, 2 * std::numbers::pi_v<Real>));
}

Real greatest_phase_error(Angles mode, double base, Index dim, Position p) {
  const AngleTable table(geometric(base, dim), mode);
  std::vector<float> cos(static_cast<std::size_t>(dim / 2)), sin(cos);
  cos_sin(table, p, 0, dim / 2, cos.data(), sin.data());
  Real worst = 0;
  for (Index i = 0; i < dim / 2; ++i)
    worst = std::max(worst,
                     phase_error(cos[static_cast<std::size_t>(i)], sin[static_cast<std::size_t>(i)],
                                 static_cast<Real>(p) * frequency(base, dim, i)));
  return worst;
}

TEST_CASE("angles: the peers' errors are as large as measured elsewhere, ours are not") {
  struct Row {
    double base;
    Index dim;
    Position position;
    double huggingface, ggml;
  };
  for (const Row& row :
       {Row{1e4, 128, 4095, 1.4e-4, 5.0e-4}, Row{1e4, 128, 131071, 4.2e-3, 1.3e-2},
        Row{5e5, 128, 131071, 5.0e-3, 4.2e-3}, Row{1e6, 128, 131071, 5.5e-3, 1.2e-2},
        Row{1e6, 128, 1048575, 6.8e-2, 6.7e-2}, Row{1.5e5, 64, 131071, 2.5e-3, 1.7e-3}}) {
    INFO("base " << row.base << ", dim " << row.dim << ", position " << row.position);
    const auto of = [&](Angles mode) {
      return static_cast<double>(greatest_phase_error(mode, row.base, row.dim, row.position));
    };
    CHECK(of(Angles::huggingface) > row.huggingface / 2);
    CHECK(of(Angles::huggingface) < row.huggingface * 2);
    CHECK(of(Angles::ggml) > row.ggml / 2);
    CHECK(of(Angles::ggml) < row.ggml * 2);
    CHECK(of(Angles::exact) < 1e-7);
  }
}

TEST_CASE("angles: Hugging Face's float32 arithmetic") {
  for (const double base : {1e4, 5e5, 1e6})
    for (const Index dim : {64, 80, 128}) {
      const AngleTable table(geometric(base, dim), Angles::huggingface);
      std::vector<float> cos(static_cast<std::size_t>(dim / 2)), sin(cos);
      for (const Position p : {0, 1, 7, 4095, 131071, 1048575, -3}) {
        cos_sin(table, p, 0, dim / 2, cos.data(), sin.data());
        float worst = 0;
        for (Index i = 0; i < dim / 2; ++i) {
          const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
          const float w = 1.0F / std::pow(static_cast<float>(base), exponent);
          const float angle = static_cast<float>(p) * w;
          worst = std::max(worst, std::abs(cos[static_cast<std::size_t>(i)] - std::cos(angle)));
          worst = std::max(worst, std::abs(sin[static_cast<std::size_t>(i)] - std::sin(angle)));
        }
        INFO("base " << base << ", dim " << dim << ", position " << p);
        CHECK(worst <= 1e-7F);
      }
    }
}

TEST_CASE("angles: ggml's float32 recurrence") {
  for (const double base : {1e4, 5e5, 1e6})
    for (const Index dim : {64, 80, 128}) {
      const AngleTable table(geometric(base, dim), Angles::ggml);
      std::vector<float> cos(static_cast<std::size_t>(dim / 2)), sin(cos);
      for (const Position p : {0, 1, 7, 4095, 131071, 1048575, -3}) {
        cos_sin(table, p, 0, dim / 2, cos.data(), sin.data());
        const float theta_scale =
            std::pow(static_cast<float>(base), -2.0F / static_cast<float>(dim));
        float theta = static_cast<float>(p), worst = 0;
        for (Index i = 0; i < dim / 2; ++i) {
          worst = std::max(worst, std::abs(cos[static_cast<std::size_t>(i)] - std::cos(theta)));
          worst = std::max(worst, std::abs(sin[static_cast<std::size_t>(i)] - std::sin(theta)));
          theta *= theta_scale;
        }
        INFO("base " << base << ", dim " << dim << ", position " << p);
        CHECK(worst <= 1e-7F);
      }
    }
}

TEST_CASE("angles: scaled frequencies keep the peers' way of computing") {
  // Position interpolation by 8: Hugging Face divides its frequencies, ggml its angles (freq_factors).
  RotaryState state = geometric(1e4, 64);
  state.inv_freq /= 8;
  for (const Position p : {1, 4095, 131071}) {
    std::vector<float> cos(32), sin(32);
    cos_sin(AngleTable(state, Angles::huggingface), p, 0, 32, cos.data(), sin.data());
    float worst = 0;
    for (Index i = 0; i < 32; ++i) {
      const float w = 1.0F / std::pow(1e4F, static_cast<float>(2 * i) / 64.0F) / 8.0F;
      worst = std::max(
          worst, std::abs(cos[static_cast<std::size_t>(i)] - std::cos(static_cast<float>(p) * w)));
    }
    CHECK(worst <= 1e-7F);

    cos_sin(AngleTable(state, Angles::ggml), p, 0, 32, cos.data(), sin.data());
    worst = 0;
    float theta = static_cast<float>(p);
    for (Index i = 0; i < 32; ++i, theta *= std::pow(1e4F, -2.0F / 64.0F))
      worst = std::max(worst, std::abs(sin[static_cast<std::size_t>(i)] - std::sin(theta / 8.0F)));
    CHECK(worst <= 1e-7F);
  }
}

#if __has_include(<nlohmann/json.hpp>)

// --- Golden files -------------------------------------------------------------------------------

nlohmann::json golden() {
  std::ifstream file(POSENC_GOLDEN_DIR "/rope_rotated.json");
  REQUIRE(file);
  return nlohmann::json::parse(file);
}

/// The state whose table holds exactly these frequencies.
RotaryState golden_state(const nlohmann::json& entry) {
  const auto inv_freq = entry.at("inv_freq").get<std::vector<float>>();
  RotaryState state;
  state.rotary_dim = 2 * static_cast<Index>(inv_freq.size());
  state.head_dim = entry.at("head_dim");
  const auto& config = entry.at("config");
  state.base = config.contains("rope_parameters")
                   ? config.at("rope_parameters").value("rope_theta", 10000.0)
                   : 10000.0;
  state.inv_freq.resize(static_cast<Index>(inv_freq.size()));
  for (std::size_t i = 0; i < inv_freq.size(); ++i)
    state.inv_freq[static_cast<Index>(i)] = static_cast<double>(inv_freq[i]);
  return state;
}

/// Greatest distance of a golden case's cosines and sines from a table's, over the tolerance of
/// tolerance(position, frequency).
template <class Tolerance>
double greatest_excess(const nlohmann::json& entry, const AngleTable& table, Tolerance tolerance) {
  const auto inv_freq = entry.at("inv_freq").get<std::vector<float>>();
  const auto expected_cos = entry.at("cos").get<std::vector<float>>();
  const auto expected_sin = entry.at("sin").get<std::vector<float>>();
  const double amplitude = entry.at("attention_factor");
  const std::size_t pairs = inv_freq.size();
  std::vector<float> cos(pairs), sin(pairs);
  double worst = 0;
  std::size_t row = 0;
  for (const Position p : entry.at("positions").get<std::vector<Position>>()) {
    cos_sin(table, p, 0, static_cast<Index>(pairs), cos.data(), sin.data());
    for (std::size_t i = 0; i < pairs; ++i) {
      const double allowed = amplitude * tolerance(p, static_cast<double>(inv_freq[i]));
      const auto off = [&](float got, float expected) {
        return std::abs(amplitude * static_cast<double>(got) - static_cast<double>(expected)) /
               allowed;
      };
      worst = std::max({worst, off(cos[i], expected_cos[row * pairs + i]),
                        off(sin[i], expected_sin[row * pairs + i])});
    }
    ++row;
  }
  return worst;
}

TEST_CASE(
    "golden: frequencies and exact angles of plain RoPE, with a tolerance that grows with "
    "position") {
  const nlohmann::json file = golden();
  int compared = 0;
  for (const auto& entry : file.at("cases")) {
    if (entry.at("scheme") != "default" || !entry.at("config").contains("rope_parameters"))
      continue;
    INFO(entry.at("name").get<std::string>());
    const RotaryState reference = golden_state(entry);
    const RotaryState exact = geometric(reference.base, reference.rotary_dim);
    for (Index i = 0; i < exact.pairs(); ++i)
      CHECK_THAT(exact.inv_freq[i], WithinRel(reference.inv_freq[i], 5e-7));
    CHECK(greatest_excess(entry, AngleTable(exact), [](Position p, double w) {
            const double angle = static_cast<double>(p) * w;
            return std::min(4e-7 + angle * (5e-7 + 0x1p-24), p < 5000 ? 1e-3 : 2e-2);
          }) <= 1);
    ++compared;
  }
  CHECK(compared >= 4);
}

TEST_CASE("golden: exact angles of every scheme's own frequencies") {
  // What is left is the reference's rounding of the angle, half a unit in the last place of a float.
  const nlohmann::json file = golden();
  REQUIRE(file.at("cases").size() >= 30);
  for (const auto& entry : file.at("cases")) {
    INFO(entry.at("name").get<std::string>());
    CHECK(greatest_excess(entry, AngleTable(golden_state(entry)), [](Position p, double w) {
            return 4e-7 + static_cast<double>(p) * w * 0x1p-24;
          }) <= 1);
  }
}

TEST_CASE("golden: in Hugging Face's mode its frequencies give its angles") {
  const nlohmann::json file = golden();
  REQUIRE(file.at("cases").size() >= 30);
  for (const auto& entry : file.at("cases")) {
    INFO(entry.at("name").get<std::string>());
    CHECK(greatest_excess(entry, AngleTable(golden_state(entry), Angles::huggingface),
                          [](Position, double) { return 4e-7; }) <= 1);
  }
}

#endif

}  // namespace angles_cases
