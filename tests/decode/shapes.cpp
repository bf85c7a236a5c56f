// SPDX-License-Identifier: MIT
//
// Shapes of heads without rotation, and with it; every element, in raw caches and rotated ones.
#include "shapes.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/mask/causal.hpp>

namespace decode_test {
namespace shapes_cases {

const auto biased = [](Index) { return ALiBi{} | Causal{}; };
/// All channels but the first and the last few, where there are some to spare.
const auto rotary = [](Index width) {
  const Index left = width > 8 ? 1 : 0, rotary_dim = (width - left) / 2 * 2 - (width > 8 ? 2 : 0);
  return RoPE<HalfSplit>{.head_dim = width, .rotary_dim = rotary_dim, .rotary_offset = left} |
         Causal{};
};

const std::vector<Shape> groups{{1, 1, 16, 16}, {2, 1, 8, 8},  {3, 1, 10, 3}, {4, 1, 16, 40},
                                {7, 1, 6, 17},  {8, 1, 32, 9}, {8, 2, 16, 1}, {6, 2, 5, 5}};
const std::vector<Shape> rotary_groups{{1, 1, 16, 16}, {2, 1, 2, 8},   {3, 1, 11, 3},
                                       {4, 1, 34, 40}, {7, 1, 6, 17},  {8, 1, 80, 9},
                                       {8, 2, 13, 33}, {2, 2, 300, 64}};
const std::vector<Shape> some{{3, 1, 11, 5}, {8, 2, 34, 17}};

TEST_CASE("decode: heads of any shape, float") {
  check_shapes<KeyState::raw, float>(biased, groups);
  check_shapes<KeyState::raw, float>(rotary, rotary_groups);
}
TEST_CASE("decode: heads of any shape, rotated keys of float") {
  check_shapes<KeyState::rotated, float>(rotary, rotary_groups);
}
TEST_CASE("decode: heads of any shape, double") {
  check_shapes<KeyState::raw, double>(rotary, some);
}

}  // namespace shapes_cases
}  // namespace decode_test
