// SPDX-License-Identifier: MIT
#include <posenc/core/positions.hpp>

#include "../support/catch.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

using namespace posenc;

namespace positions_cases {

std::string complaint(const Positions& positions, Index tokens) {
  Problems problems;
  positions.check(problems, "queries", tokens);
  std::string all;
  for (const std::string& sentence : problems.sentences()) all += sentence;
  return all;
}

TEST_CASE("Positions: an offset") {
  const Positions from_zero;
  CHECK(from_zero.is_offset());
  CHECK_FALSE(from_zero.is_real());
  CHECK(from_zero[0] == 0);
  CHECK(from_zero[7] == 7);

  const Positions later = 1000;
  CHECK(later[5] == 1005);
  CHECK(later.length(6) == 1006);
  CHECK(later.length(0) == 0);

  const Positions negative = -3;
  CHECK(negative[0] == -3);
  CHECK(negative[3] == 0);
  CHECK(negative.length(2) == -1);
}

TEST_CASE("Positions: integer ids are borrowed") {
  std::vector<Position> ids{5, -2, 5, 40};
  const Positions positions = ids;
  CHECK_FALSE(positions.is_offset());
  CHECK_FALSE(positions.is_real());
  for (std::size_t t = 0; t < ids.size(); ++t) CHECK(positions[static_cast<Index>(t)] == ids[t]);
  CHECK(positions.length(4) == 41);
  ids[1] = 99;
  CHECK(positions[1] == 99);
  CHECK(positions.length(4) == 100);
}

TEST_CASE("Positions: a temporary serves the call that it is passed in, and views are no owners") {
  const auto last = [](const Positions& positions, Index tokens) { return positions[tokens - 1]; };
  CHECK(last(Positions::borrowed(std::vector<Position>{3, 9}), 2) == 9);
  const std::vector<Position> ids{0, 1, 2, 7, 8, 9};
  const Positions two = Positions::borrowed(ids, 2);
  CHECK((two.axes() == 2 && two.at(1, 0) == 7));
  const Positions some(std::span<const Position>(ids).first(3));  // a span is no owner
  CHECK(some[2] == 2);
}

TEST_CASE("Positions: real ids") {
  const std::array<double, 4> ids{0.5, -1.25, 7.999, 3};
  const Positions positions = ids;
  CHECK(positions.is_real());
  CHECK_FALSE(positions.is_offset());
  CHECK(positions.real(1) == -1.25);
  CHECK(positions.length(4) == 8);
  const std::vector<double> negative{-3.5};
  CHECK(Positions(negative).length(1) == -3);
  const std::vector<double> whole{6.0};
  CHECK(Positions(whole).length(1) == 7);
}

TEST_CASE("Positions: several coordinates, [axes][tokens]") {
  const std::vector<Position> ids{0, 1, 2, 10, 11, 12, -5, 21, 7};
  const Positions positions(ids, 3);
  CHECK(positions.axes() == 3);
  for (int axis = 0; axis < 3; ++axis)
    for (Index t = 0; t < 3; ++t)
      CHECK(positions.at(axis, t) == ids[static_cast<std::size_t>(3 * axis + t)]);
  CHECK(positions[2] == 2);          // the first coordinate
  CHECK(positions.length(3) == 22);  // the greatest of all
  CHECK(complaint(positions, 3).empty());

  const std::vector<double> real_ids{0.5, 1.5, -0.25, 8.75};
  const Positions real(real_ids, 2);
  CHECK(real.is_real());
  CHECK(real.real(1) == 1.5);
  CHECK(real.real(0, 1) == 1.5);
  CHECK(real.real(1, 0) == -0.25);
  CHECK(real.real(1, 1) == 8.75);
  CHECK(real.length(2) == 9);
}

TEST_CASE("Positions: with one axis, or from an offset, all coordinates are equal") {
  const std::vector<Position> ids{4, 8};
  const std::vector<double> real_ids{4.5, 8.5};
  for (int axis = 0; axis < Positions::most_axes; ++axis) {
    CHECK(Positions(ids).at(axis, 1) == 8);
    CHECK(Positions(100).at(axis, 1) == 101);
    CHECK(Positions(real_ids).real(axis, 1) == 8.5);
  }
  CHECK(Positions(ids).axes() == 1);
  CHECK(Positions(100).axes() == 1);
}

TEST_CASE("Positions: some of the tokens") {
  const std::vector<Position> ids{0, 1, 2, 3, 10, 11, 12, 13};
  const std::vector<double> real_ids{0.5, 1.5, 10.5, 11.5};
  const Positions two = Positions(ids, 2).subspan(1, 2);
  CHECK(two.at(0, 0) == 1);
  CHECK(two.at(0, 1) == 2);
  CHECK(two.at(1, 0) == 11);
  CHECK(two.at(1, 1) == 12);
  CHECK(two.length(2) == 13);
  CHECK(complaint(two, 2).empty());
  CHECK(complaint(two, 3) == "queries: got 4 position ids for 3 tokens of 2 coordinates each.");
  CHECK(two.subspan(1, 1).at(1, 0) == 12);
  CHECK(Positions(real_ids, 2).first(1).real(1, 0) == 10.5);
  CHECK(Positions(real_ids, 2).subspan(1, 1).length(1) == 12);

  const Positions plain = Positions(ids).subspan(6, 2);
  CHECK(plain[1] == 13);
  CHECK(complaint(plain, 2).empty());
  CHECK(complaint(plain, 1) == "queries: got 2 position ids for 1 tokens.");
  CHECK(Positions(50).subspan(7, 3)[1] == 58);
  CHECK(complaint(Positions(50).subspan(7, 3), 3).empty());
}

TEST_CASE("Positions: spans, arrays and vectors") {
  const Position array[3] = {1, 2, 3};
  CHECK(Positions(array)[2] == 3);
  const std::span<const Position> span(array);
  CHECK(Positions(span)[1] == 2);
  std::vector<Position> vector{4};
  CHECK(Positions(std::span<Position>(vector))[0] == 4);
  STATIC_REQUIRE(std::is_convertible_v<int, Positions>);
}

TEST_CASE("Positions: a wrong number of ids") {
  const std::vector<Position> three{1, 2, 3};
  const std::vector<double> two{1, 2};
  CHECK(complaint(three, 3).empty());
  CHECK(complaint(two, 2).empty());
  CHECK(complaint(three, 4) == "queries: got 3 position ids for 4 tokens.");
  CHECK(complaint(three, 0) == "queries: got 3 position ids for 0 tokens.");
  CHECK(complaint(two, 1) == "queries: got 2 position ids for 1 tokens.");
}

TEST_CASE("Positions: a wrong number of coordinates") {
  const std::vector<Position> six{1, 2, 3, 4, 5, 6};
  CHECK(complaint(Positions(six, 3), 2).empty());
  CHECK(complaint(Positions(six, 2), 3).empty());
  CHECK(complaint(Positions(six, 3), 6) ==
        "queries: got 6 position ids for 6 tokens of 3 coordinates each.");
  CHECK(complaint(Positions(six, 4), 1) ==
        "queries: got 6 position ids for 1 tokens of 4 coordinates each.");
  for (const int axes : {5, 0, -1})
    CHECK(complaint(Positions(six, axes), 6) ==
          "queries: positions have 1 to 4 coordinates, got " + std::to_string(axes) + ".");
}

TEST_CASE("Positions: no ids for some tokens is a wrong number too") {
  const std::vector<Position> none;
  const std::vector<double> no_reals;
  CHECK(complaint(none, 0).empty());
  CHECK(complaint(none, 5) == "queries: got 0 position ids for 5 tokens.");
  CHECK(complaint(no_reals, 5) == "queries: got 0 position ids for 5 tokens.");
}

TEST_CASE("Positions: ids out of range") {
  const std::string refused = "queries: positions must lie within +-2^52, got ";
  for (const Position p :
       {greatest_position + 1, -greatest_position - 1, std::numeric_limits<Position>::max(),
        std::numeric_limits<Position>::min()}) {
    const std::vector<Position> ids{0, p};
    CHECK(complaint(ids, 2) == refused + std::to_string(p) + ".");
  }
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double p : {infinity, -infinity, std::nan(""), 0x1p52 + 1, -0x1p52 - 1, 1e300}) {
    const std::vector<double> ids{0, p, 1};
    CHECK_THAT(complaint(ids, 3), StartsWith(refused));
  }
  const std::vector<Position> in_second{0, 1, 2, greatest_position + 1};
  CHECK_THAT(complaint(Positions(in_second, 2), 2), StartsWith(refused));
  const std::vector<double> in_third{0, 1, infinity};
  CHECK_THAT(complaint(Positions(in_third, 3), 1), StartsWith(refused));
  const std::vector<Position> widest{greatest_position, -greatest_position};
  CHECK(complaint(widest, 2).empty());
  const std::vector<double> widest_reals{0x1p52, -0x1p52};
  CHECK(complaint(widest_reals, 2).empty());
}

TEST_CASE("Positions: offsets out of range") {
  const auto refused = ContainsSubstring("positions must lie within +-2^52");
  CHECK(complaint(greatest_position - 10, 10).empty());
  CHECK_THAT(complaint(greatest_position - 10, 12), refused);
  CHECK_THAT(complaint(greatest_position + 1, 0), refused);
  CHECK_THAT(complaint(-greatest_position - 1, 1), refused);
  CHECK(complaint(-greatest_position, 5).empty());
  CHECK_THAT(complaint(0, std::numeric_limits<Index>::max()), refused);
  CHECK_THAT(complaint(std::numeric_limits<Position>::max(), std::numeric_limits<Index>::max()),
             refused);
  CHECK_THAT(complaint(std::numeric_limits<Position>::min(), 1), refused);
}

TEST_CASE("Positions: a length can be asked of positions that check() reports") {
  const std::vector<double> reals{2.5, std::nan(""), 1e300, -HUGE_VAL};
  CHECK(Positions(reals).length(4) == 3);
  const std::vector<Position> ids{7, std::numeric_limits<Position>::max()};
  CHECK(Positions(ids).length(2) == 8);
  CHECK(Positions(std::numeric_limits<Position>::max()).length(5) == 0);
  CHECK(Positions(0).length(std::numeric_limits<Index>::max()) == 0);
  const std::vector<Position> none;
  CHECK(Positions(none).length(5) <= 0);
}

TEST_CASE("Positions: constant expressions") {
  constexpr Positions offset = 12;
  STATIC_REQUIRE(offset[3] == 15);
  STATIC_REQUIRE(offset.is_offset());
  static constexpr std::array<Position, 4> ids{1, 2, 3, 4};
  constexpr Positions two(ids, 2);
  STATIC_REQUIRE(two.at(1, 0) == 3);
}

}  // namespace positions_cases
