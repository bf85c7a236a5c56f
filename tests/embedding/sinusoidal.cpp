// SPDX-License-Identifier: MIT
#include "../support/catch.hpp"

#include <posenc/embedding/sinusoidal.hpp>

#include <vector>

using namespace posenc;

static_assert(InputEmbedding<Sinusoidal> && Checks<Sinusoidal>);

namespace sinusoidal_cases {

using Real = long double;

std::vector<double> embedded(const Sinusoidal& encoding, double position) {
  std::vector<double> out(static_cast<std::size_t>(encoding.width), -99.0);
  encoding.embed(position, out);
  return out;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

std::vector<std::string> sentences(const Sinusoidal& encoding) {
  Problems problems;
  encoding.check(problems, HeadShape{});
  return problems.sentences();
}

void check_sentence(const Sinusoidal& encoding, const std::string& fragment) {
  const std::vector<std::string> found = sentences(encoding);
  REQUIRE(found.size() == 1);
  CHECK_THAT(found.front(), ContainsSubstring(fragment));
}

constexpr SinusoidalLayout all_layouts[] = {SinusoidalLayout::interleaved,
                                            SinusoidalLayout::sin_cos, SinusoidalLayout::cos_sin};

TEST_CASE("Sinusoidal golden frequencies") {
  const Sinusoidal paper{.width = 512};
  CHECK(paper.frequency(0) == 1);
  CHECK(paper.frequency(1) == Approx(0.964661619911).epsilon(1e-9));
  CHECK(paper.frequency(255) == Approx(1.03663292844e-4).epsilon(1e-9).margin(0));
  const Sinusoidal shifted{.width = 512, .shift = 1};
  CHECK(shifted.frequency(0) == 1);
  CHECK(shifted.frequency(1) == Approx(0.964525525623).epsilon(1e-9));
  CHECK(shifted.frequency(255) == Approx(1e-4).epsilon(1e-12).margin(0));
}

TEST_CASE("Sinusoidal is its formula in every layout") {
  for (Index width : {2, 4, 6, 64, 65, 512})
    for (int shift : {0, 1})
      for (SinusoidalLayout layout : all_layouts)
        for (double position : {0.0, 1.0, 7.5, 4095.0, -3.0}) {
          const Sinusoidal encoding{.width = width,
                                    .base = 5000,
                                    .layout = layout,
                                    .shift = shift,
                                    .scale = 0.5,
                                    .offset = 2};
          const std::vector<double> out = embedded(encoding, position);
          const Index half = width / 2;
          for (Index i = 0; i < half; ++i) {
            const Real steps = half - shift > 0 ? static_cast<Real>(half - shift) : 1.0L;
            const Real angle = (static_cast<Real>(position) + 2) *
                               std::pow(5000.0L, -static_cast<Real>(i) / steps);
            Index sine = 2 * i, cosine = 2 * i + 1;
            if (layout == SinusoidalLayout::sin_cos) sine = i, cosine = half + i;
            if (layout == SinusoidalLayout::cos_sin) sine = half + i, cosine = i;
            // The angle carries a few roundings of a double, and no more.
            const double bound = 4e-16 * (std::abs(position + 2) + 4);
            CHECK_THAT(out[static_cast<std::size_t>(sine)],
                       WithinAbs(static_cast<double>(std::sin(angle) / 2), bound));
            CHECK_THAT(out[static_cast<std::size_t>(cosine)],
                       WithinAbs(static_cast<double>(std::cos(angle) / 2), bound));
          }
          if (width % 2 != 0) CHECK(out.back() == 0);
        }
}

TEST_CASE("Sinusoidal vectors have one length, and products that depend on the distance") {
  const Sinusoidal encoding{.width = 64};
  for (double n : {0.0, 5.0, 1000.0}) {
    CHECK(dot(embedded(encoding, n), embedded(encoding, n)) == Approx(32).epsilon(1e-13));
    for (double m : {0.0, 17.0, 900.0}) {
      Real expected = 0;
      for (int i = 0; i < 32; ++i)
        expected +=
            std::cos(static_cast<Real>(n - m) * std::pow(10000.0L, -static_cast<Real>(i) / 32));
      CHECK_THAT(dot(embedded(encoding, n), embedded(encoding, m)),
                 WithinAbs(static_cast<double>(expected), 1e-11));
    }
  }
}

TEST_CASE("Sinusoidal moves by a linear map that depends on the step alone") {
  // (sin, cos) at n + k is (sin, cos) at n turned by k w: the same turn for every n.
  const Sinusoidal encoding{.width = 32};
  for (double k : {1.0, 40.0})
    for (double n : {0.0, 3.0, 700.0}) {
      const std::vector<double> from = embedded(encoding, n), to = embedded(encoding, n + k);
      for (std::size_t i = 0; i < 16; ++i) {
        const double turn = k * std::pow(10000.0, -static_cast<double>(i) / 16);
        CHECK_THAT(to[2 * i],
                   WithinAbs(from[2 * i] * std::cos(turn) + from[2 * i + 1] * std::sin(turn),
                             1e-12));
        CHECK_THAT(to[2 * i + 1],
                   WithinAbs(from[2 * i + 1] * std::cos(turn) - from[2 * i] * std::sin(turn),
                             1e-12));
      }
    }
}

TEST_CASE("Sinusoidal with a single pair and shift 1 does not divide by zero") {
  CHECK(Sinusoidal{.width = 2, .shift = 1}.frequency(0) == 1);
  CHECK(embedded({.width = 3, .shift = 1}, 0.5) ==
        std::vector<double>{std::sin(0.5), std::cos(0.5), 0});
  CHECK(embedded({.width = 1}, 9) == std::vector<double>{0});
}

TEST_CASE("Sinusoidal reports wrong parameters") {
  CHECK(sentences({.width = 512}).empty());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  check_sentence({}, "width must be positive, got 0");
  check_sentence({.width = 4, .base = -1}, "base must be positive and finite, got -1");
  check_sentence({.width = 4, .base = nan}, "base must be positive and finite, got nan");
  check_sentence({.width = 4, .shift = 2},
                 "shift must be 0 (the paper) or 1 (tensor2tensor), got 2");
  check_sentence({.width = 4, .scale = nan}, "scale and offset must be finite, got nan and 0");
  check_sentence({.width = 4, .offset = nan}, "scale and offset must be finite, got 1 and nan");
}

}  // namespace sinusoidal_cases
