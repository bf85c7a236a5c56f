// SPDX-License-Identifier: MIT
#include <posenc/core/natural.hpp>

#include "../support/catch.hpp"

using namespace posenc;
using detail::Natural;

namespace natural_cases {

Natural power(Position base, Index exponent) { return Natural().multiply_by_power(base, exponent); }

bool equal(const Natural& a, const Natural& b) { return !(a < b) && !(b < a); }

TEST_CASE("Natural: the same number by other factors") {
  CHECK(equal(Natural(), power(7, 0)));
  CHECK(equal(Natural(), power(1, 1000)));
  CHECK(equal(power(6, 200), power(2, 200).multiply_by_power(3, 200)));
  CHECK(equal(power(2, 31 * 40), power(Position{1} << 31, 40)));
  CHECK(equal(power(0xFFFF'FFFF, 9), power(3, 9).multiply_by_power(0x5555'5555, 9)));
}

TEST_CASE("Natural: order, also of neighbours") {
  CHECK(Natural() < power(2, 1));
  CHECK(power(2, 63) < power(2, 64));
  CHECK(power(3, 40) < power(2, 64));
  CHECK(power(2, 64) < power(3, 41));
  // m^2 and (m - 1)(m + 1) differ by one.
  for (const Position m : {Position{2}, Position{1} << 16, Position{0xFFFF'FFFE}}) {
    const Natural square = power(m, 2);
    const Natural below = power(m - 1, 1).multiply_by_power(m + 1, 1);
    CHECK(below < square);
    CHECK(!(square < below));
    CHECK(!(square < square));
  }
}

}  // namespace natural_cases
