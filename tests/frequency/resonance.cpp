// SPDX-License-Identifier: MIT
//
// Resonance against the formula in long double, against wavelengths that the formulas of the reference code give
// in double (golden), and against what it is for: angles that come round after whole numbers of tokens.
#include "oracle.hpp"

#include <posenc/bind/bind.hpp>
#include <posenc/frequency/dynamic.hpp>
#include <posenc/frequency/frequency_table.hpp>
#include <posenc/frequency/proportional.hpp>
#include <posenc/frequency/resonance.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotate/rotate.hpp>

#include <vector>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<Resonance> && ChecksState<Resonance> &&
              !LengthDependent<Resonance>);

namespace resonance_cases {

/// The nearest whole number, by the remainder; no ties occur.
Real whole(Real x) {
  const Real below = std::floor(x);
  return x - below > 0.5L ? below + 1 : below;
}

/// Every pair turns once in golden[i] tokens.
void check_wavelengths(const RotaryState& s, const std::vector<int>& golden) {
  REQUIRE(s.inv_freq.size() == static_cast<Index>(golden.size()));
  check_pairs(s, [&](Index i) { return 2 * pi / golden[static_cast<std::size_t>(i)]; }, 1e-15);
}

TEST_CASE("Resonance rounds wavelengths, over widths and bases") {
  for (const Index d : {2, 6, 64, 128, 256})
    for (const double base : {100.0, 10'000.0, 500'000.0, 5e6}) {
      const RotaryState s = after(Resonance{}, state(d, base));
      check_pairs(s, [&](Index i) { return 2 * pi / whole(2 * pi / plain(i, d, base)); }, 1e-15);
      CHECK(s.base == base);
      CHECK(s.attention_factor == 1);
      CHECK(s.score_factor == 1);
    }
}

TEST_CASE("Resonance golden wavelengths") {
  check_wavelengths(after(Resonance{}, state(128)),
                    {6,     7,     8,     10,    11,    13,    15,    17,    20,    23,    26,
                     31,    35,    41,    47,    54,    63,    73,    84,    97,    112,   129,
                     149,   172,   199,   229,   265,   306,   353,   408,   471,   544,   628,
                     726,   838,   968,   1117,  1290,  1490,  1721,  1987,  2294,  2650,  3060,
                     3533,  4080,  4712,  5441,  6283,  7256,  8379,  9676,  11173, 12903, 14900,
                     17206, 19869, 22945, 26496, 30597, 35333, 40802, 47117, 54410});
}

TEST_CASE("Resonance YaRN golden wavelengths") {
  // Llama-2-7B at 32,768 tokens, the model of the paper.
  const RotaryState s =
      after(Resonance{}, after(YaRN{.factor = 8, .original_context = 4096}, state(128)));
  check_wavelengths(
      s, {6,      7,      8,      10,     11,     13,     15,     17,     20,    23,     26,
          31,     35,     41,     47,     54,     63,     73,     84,     97,    112,    134,
          160,    191,    230,    276,    332,    400,    484,    585,    710,   864,    1054,
          1290,   1584,   1954,   2421,   3015,   3779,   4772,   6078,   7824,  10206,  13541,
          18373,  25718,  37694,  43528,  50265,  58046,  67030,  77405,  89386, 103221, 119198,
          137648, 158953, 183557, 211968, 244777, 282664, 326415, 376938, 435281});
  CHECK(s.attention_factor == yarn_mscale(8));
}

TEST_CASE("Resonance follows a scheme that follows the length") {
  const Dynamic<YaRN> dynamic{{.original_context = 4096}};
  for (const Position length : {100, 4096, 10'000, 32'768}) {
    const RotaryState before = after(dynamic, state(128, 10'000, length));
    const RotaryState s = after(Resonance{}, before);
    check_pairs(
        s, [&](Index i) { return 2 * pi / whole(2 * pi / static_cast<Real>(before.inv_freq[i])); },
        1e-15);
  }
}

TEST_CASE("Resonance twice is once, and ties go to even") {
  const RotaryState once = after(Resonance{}, state(128, 5e5));
  check_identity(Resonance{}, once);
  RotaryState ties = state(8);
  for (Index i = 0; i < 4; ++i)
    ties.inv_freq[i] = 2 * static_cast<double>(pi) / (6.5 + static_cast<double>(i));
  check_wavelengths(after(Resonance{}, ties), {6, 8, 8, 10});
}

TEST_CASE("Resonance leaves what stands still, and huge wavelengths") {
  const RotaryState half = after(Proportional{.fraction = 0.5}, state(64));
  const RotaryState s = after(Resonance{}, half);
  for (Index i = 16; i < 32; ++i) CHECK(s.inv_freq[i] == 0);
  RotaryState slow = state(4);
  slow.inv_freq = std::vector{1e-18, std::numeric_limits<double>::denorm_min()};
  const RotaryState kept = after(Resonance{}, slow);
  CHECK(kept.inv_freq[0] == golden(1e-18));
  CHECK(kept.inv_freq[1] == 0);  // its wavelength is no double
}

TEST_CASE("Resonance: a rotated vector comes round after a wavelength") {
  constexpr Index width = 32;
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | Resonance{});
  const Frequencies& w = bound.rotary().state.inv_freq;
  for (Index i = 0; i < width / 2; ++i) {
    const auto turn = static_cast<Position>(std::llround(2 * pi / static_cast<Real>(w[i])));
    for (const Position at : {Position{0}, Position{1}, Position{57}, Position{40'000}}) {
      std::vector<float> first(width), later(width);
      first[static_cast<std::size_t>(i)] = later[static_cast<std::size_t>(i)] = 1;
      rotate(TensorView(first.data(), 1, 1, width), at, bound);
      rotate(TensorView(later.data(), 1, 1, width), at + turn, bound);
      for (std::size_t c = 0; c < width; ++c) CHECK(std::abs(first[c] - later[c]) <= 2e-7F);
    }
  }
}

TEST_CASE("Resonance reports frequencies that no whole wavelength is near") {
  CHECK(sentences(Resonance{}, state(64)).empty());
  RotaryState fast = state(4);
  fast.inv_freq = std::vector{13.0, 0.0};
  check_sentence(Resonance{}, fast,
                 "a wavelength must round to at least 1 token, but pair 0 turns by 13 radians");
  fast.inv_freq = std::vector{12.0, 0.0};  // a turn in 0.52 tokens: 1
  CHECK(sentences(Resonance{}, fast).empty());
}

}  // namespace resonance_cases
