// SPDX-License-Identifier: MIT
//
// Positions for training: what each scheme promises of every draw, how often what is drawn, and errors.
#include <posenc/schedule/training_positions.hpp>

#include "../support/catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

using namespace posenc;

namespace training_positions_cases {

template <class T>
bool rises(const std::vector<T>& ids) {
  return std::adjacent_find(ids.begin(), ids.end(), [](T a, T b) { return !(a < b); }) == ids.end();
}

TEST_CASE("SeededRandom: the published numbers, both ends, and resuming") {
  // Of splitmix64 from 1234567, as its authors' C code prints them.
  SeededRandom known(1234567);
  CHECK(known.bits() == 6457827717110365317U);
  CHECK(known.bits() == 3203168211198807973U);
  SeededRandom random(3);
  std::vector<int> seen(7);
  for (int i = 0; i < 7000; ++i) ++seen[static_cast<std::size_t>(random.integer(-3, 3) + 3)];
  for (const int count : seen) CHECK(std::abs(count - 1000) < 150);  // five standard deviations
  CHECK(random.integer(5, 5) == 5);
  CHECK_NOTHROW(random.integer(std::numeric_limits<std::int64_t>::min(),
                               std::numeric_limits<std::int64_t>::max()));
  for (int i = 0; i < 1000; ++i) {
    const double x = random.real(-1, 2);
    CHECK((x >= -1 && x < 2));
  }
  SeededRandom resumed(random.state());
  CHECK(resumed.bits() == random.bits());
}

TEST_CASE("RandomisedPositions: different, sorted, all equally likely") {
  SeededRandom random(1);
  std::vector<int> seen(40);
  for (int draw = 0; draw < 4000; ++draw) {
    const std::vector<Position> ids = RandomisedPositions{40}.draw(10, random);
    REQUIRE(ids.size() == 10);
    REQUIRE((rises(ids) && ids.front() >= 0 && ids.back() < 40));
    for (const Position id : ids) ++seen[static_cast<std::size_t>(id)];
  }
  for (const int count : seen) CHECK(std::abs(count - 1000) < 140);  // five standard deviations
  // As many tokens as positions leave no choice.
  std::vector<Position> all(300);
  std::iota(all.begin(), all.end(), Position{0});
  CHECK(RandomisedPositions{300}.draw(300, random) == all);
  CHECK(RandomisedPositions{300}.draw(0, random).empty());
  SeededRandom a(9), b(9);
  CHECK(RandomisedPositions{}.draw(50, a) == RandomisedPositions{}.draw(50, b));
}

TEST_CASE("UniformGaps: steps within their bounds, no position beyond the longest") {
  SeededRandom random(2);
  int beyond = 0;
  for (int draw = 0; draw < 300; ++draw) {
    const std::vector<double> ids = UniformGaps{}.draw(64, random);
    REQUIRE(ids.size() == 64);
    CHECK(rises(ids));
    CHECK(ids.back() <= 64);
    const double scale = 64 / ids.back();  // 1 or more where nothing was multiplied
    beyond += scale < 1 + 1e-12;
    double before = 0;
    for (const double id : ids) {
      CHECK((id - before > 0 && id - before <= 2));
      before = id;
    }
  }
  CHECK((beyond > 150 && beyond < 290));  // a mean step of 1.05
  const std::vector<double> free =
      UniformGaps{.least = 0.5, .most = 1, .longest = 1e9}.draw(64, random);
  double before = 0;
  for (const double id : free) {
    CHECK((id - before >= 0.5 - 1e-12 && id - before <= 1 + 1e-12));
    before = id;
  }
  CHECK(UniformGaps{}.draw(0, random).empty());
}

TEST_CASE("PoSE: two parts that keep their order, within the target") {
  SeededRandom random(4);
  Index least_cut = 100, greatest_cut = 0;
  Position least_shift = 1000, greatest_shift = -1;
  for (int i = 0; i < 3000; ++i) {
    const PoSE::Drawn drawn = PoSE{.target = 64}.draw(15, random);
    REQUIRE(drawn.positions.size() == 15);
    REQUIRE((drawn.cut >= 1 && drawn.cut <= 8 && drawn.shift >= 0 && drawn.shift <= 49));
    for (Index t = 0; t < 15; ++t)
      REQUIRE(drawn.positions[static_cast<std::size_t>(t)] ==
              (t < drawn.cut ? t : t + drawn.shift));
    least_cut = std::min(least_cut, drawn.cut), greatest_cut = std::max(greatest_cut, drawn.cut);
    least_shift = std::min(least_shift, drawn.shift);
    greatest_shift = std::max(greatest_shift, drawn.shift);
  }
  CHECK((least_cut == 1 && greatest_cut == 8 && least_shift == 0 && greatest_shift == 49));
  CHECK(PoSE{.target = 15}.draw(15, random).shift == 0);
  CHECK(PoSE{.target = 15}.draw(1, random).cut == 1);
  CHECK(PoSE{.target = 15}.draw(0, random).positions.empty());
}

TEST_CASE("training positions: wrong values are sentences") {
  SeededRandom random(1);
  const auto says = [](const auto& f, const std::string& sentence) {
    CHECK_THROWS_WITH(f(), ContainsSubstring(sentence));
  };
  says([&] { (void)RandomisedPositions{10}.draw(11, random); },
       "there are 10 different positions, too few for 11 tokens");
  says([&] { (void)RandomisedPositions{10}.draw(-1, random); }, "a sequence cannot have -1 tokens");
  says([&] { (void)RandomisedPositions{0}.draw(0, random); },
       "longest must lie within [1, 2^52], got 0");
  says([&] { (void)UniformGaps{.least = 0}.draw(4, random); },
       "0 < least < most < infinity, got 0 and 2");
  says([&] { (void)UniformGaps{.least = 3}.draw(4, random); }, "got 3 and 2");
  says([&] { (void)UniformGaps{.longest = NAN}.draw(4, random); }, "longest must be finite");
  says([&] { (void)UniformGaps{}.draw(-1, random); }, "a sequence cannot have -1 tokens");
  says([&] { (void)PoSE{}.draw(4, random); }, "target must lie within [1, 2^52] tokens, got 0");
  says([&] { (void)PoSE{.target = 3}.draw(4, random); }, "0 to target = 3 tokens, got 4");
}

}  // namespace training_positions_cases
