// SPDX-License-Identifier: MIT
#include "../support/catch.hpp"

#include <posenc/embedding/add_positions.hpp>
#include <posenc/embedding/learned_absolute.hpp>
#include <posenc/embedding/sinusoidal.hpp>

using namespace posenc;

namespace add_positions_cases {

/// A user's own encoding: channel c of position n is 100 n + c.
struct Counting {
  Index width;
  [[nodiscard]] Index embedding_width() const { return width; }
  void embed(double position, std::span<double> out) const {
    for (std::size_t c = 0; c < out.size(); ++c) out[c] = 100 * position + static_cast<double>(c);
  }
};
static_assert(InputEmbedding<Counting>);

template <class F>
void check_refused(F f, const std::string& fragment) {
  try {
    f();
    FAIL("no error, expected: " << fragment);
  } catch (const Error& error) {
    CHECK_THAT(error.what(), ContainsSubstring(fragment));
  }
}

TEST_CASE("add_positions adds at contiguous positions") {
  std::vector<float> x(3 * 4, 0.5F);
  add_positions(Counting{4}, TensorView(x.data(), 3, 1, 4), 7);
  for (std::size_t token = 0; token < 3; ++token)
    for (std::size_t c = 0; c < 4; ++c)
      CHECK(x[token * 4 + c] == 0.5F + 100 * static_cast<float>(token + 7) + static_cast<float>(c));
}

TEST_CASE("add_positions adds at given positions") {
  const std::vector<Position> whole{5, 0, 5};
  const std::vector<double> between{0.5, 1.25, -2};
  std::vector<double> x(3 * 2, 1.0), y = x;
  add_positions(Counting{2}, TensorView(x.data(), 3, 1, 2), whole);
  CHECK(x == std::vector<double>{501, 502, 1, 2, 501, 502});
  add_positions(Counting{2}, TensorView(y.data(), 3, 1, 2), between);
  CHECK(y == std::vector<double>{51, 52, 126, 127, -199, -198});
}

TEST_CASE("add_positions follows strides, and gives every row of a token the same vector") {
  // [heads][tokens][width] with a gap after each row.
  std::vector<float> x(2 * 3 * 5, 0.0F);
  add_positions(Counting{4}, TensorView<float>(x.data(), 3, 2, 4, 5, 15));
  for (std::size_t head = 0; head < 2; ++head)
    for (std::size_t token = 0; token < 3; ++token)
      for (std::size_t c = 0; c < 5; ++c)
        CHECK(x[head * 15 + token * 5 + c] == (c < 4 ? static_cast<float>(100 * token + c) : 0.0F));
}

TEST_CASE("add_positions adds no tokens") {
  add_positions(Counting{4}, TensorView<float>(nullptr, 0, 1, 4));
  SUCCEED();
}

TEST_CASE("add_positions rounds once") {
  std::vector<float> x(64, 1.0F);
  add_positions(Sinusoidal{.width = 64}, TensorView(x.data(), 1, 1, 64), 12345);
  for (std::size_t i = 0; i < 32; ++i) {
    const long double angle = 12345 * std::pow(10000.0L, -static_cast<long double>(i) / 32);
    CHECK_THAT(x[2 * i], WithinULP(static_cast<float>(1 + std::sin(angle)), 1));
    CHECK_THAT(x[2 * i + 1], WithinULP(static_cast<float>(1 + std::cos(angle)), 1));
  }
}

TEST_CASE("add_positions refuses what does not fit") {
  std::vector<float> x(12);
  const TensorView view(x.data(), 3, 1, 4);
  check_refused([&] { add_positions(Counting{5}, view); },
                "the view is 4 channels wide, but the encoding 5");
  check_refused(
      [&] { add_positions(Counting{4}, view, Positions::borrowed(std::vector<Position>{1, 2})); },
      "tokens: got 2 position ids for 3 tokens");
  const std::vector<Position> coordinates{1, 2, 3, 4, 5, 6};
  check_refused([&] { add_positions(Counting{4}, view, Positions(coordinates, 2)); },
                "an embedding has one position per token, got 2 coordinates");
  check_refused(
      [&] {
        add_positions(Counting{4}, view, Positions::borrowed(std::vector<double>{0, NAN, 1}));
      },
      "positions must lie within +-2^52, got nan");
  check_refused([&] { add_positions(Counting{4}, TensorView<float>(nullptr, 3, 1, 4)); },
                "its data pointer is null");
  check_refused([&] { add_positions(Sinusoidal{.width = 4, .shift = 3}, view); },
                "shift must be 0");
  check_refused(
      [&] {
        add_positions(Sinusoidal{.width = 6, .base = 0}, view,
                      Positions::borrowed(std::vector<double>{1}));
      },
      "3 problems");
  const LearnedAbsolute two{.table = std::vector<float>(8, 1.0F), .length = 2, .width = 4};
  check_refused([&] { add_positions(two, view); }, "whole positions 0 to 1, got position 2");
  CHECK(x == std::vector<float>(12));
}

}  // namespace add_positions_cases
