// SPDX-License-Identifier: MIT
//
// Elements next to a number, above and below it.
#include "../support/bits.hpp"
#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <posenc/core/element.hpp>
#include <posenc/eigen.hpp>

#include <cmath>
#include <limits>

namespace core_test {
namespace rounding_cases {

using namespace posenc;

template <class T>
void check_rounding() {
  const auto of_bits = [](unsigned bits) {
    return std::bit_cast<T>(static_cast<std::uint16_t>(bits));
  };
  posenc_test::Random random(1);
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const float x = widen(of_bits(bits));
    for (const Rounding way : {Rounding::nearest, Rounding::up, Rounding::down}) {
      const float y = widen(narrow<T>(x, way));
      REQUIRE((x != x ? y != y : y == x));  // elements stay
    }
    // Numbers between neighbours of one sign go to either.
    const float next = widen(of_bits(bits + 1));
    if (x != x || next != next || (bits & 0x7fffU) == 0x7fffU || std::isinf(x) || std::isinf(next))
      continue;
    const float between = x + (next - x) * static_cast<float>(random.real(0.01, 0.99));
    if (between == x || between == next) continue;
    REQUIRE(widen(narrow<T>(between, Rounding::up)) == std::max(x, next));
    REQUIRE(widen(narrow<T>(between, Rounding::down)) == std::min(x, next));
    REQUIRE(posenc_test::same_bits(narrow<T>(between, Rounding::nearest), narrow<T>(between)));
  }
  // Beyond the ends, and around zero.
  constexpr float most = std::numeric_limits<float>::max(),
                  tiny = std::numeric_limits<float>::denorm_min();
  CHECK(widen(narrow<T>(most, Rounding::up)) == std::numeric_limits<float>::infinity());
  CHECK(widen(narrow<T>(most, Rounding::down)) ==
        widen(of_bits(sizeof(T) == 2 && element_format<T> == ElementFormat::bfloat16 ? 0x7f7fU
                                                                                     : 0x7bffU)));
  CHECK(widen(narrow<T>(-most, Rounding::down)) == -std::numeric_limits<float>::infinity());
  CHECK(widen(narrow<T>(tiny, Rounding::up)) == widen(of_bits(1)));
  CHECK(widen(narrow<T>(tiny, Rounding::down)) == 0);
  CHECK(widen(narrow<T>(-tiny, Rounding::down)) == -widen(of_bits(1)));
  CHECK(widen(narrow<T>(-tiny, Rounding::up)) == 0);
}

TEST_CASE("16-bit elements above and below a number") {
  check_rounding<Eigen::bfloat16>();
  check_rounding<Eigen::half>();
}

}  // namespace rounding_cases
}  // namespace core_test
