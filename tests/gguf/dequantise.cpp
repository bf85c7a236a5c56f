// SPDX-License-Identifier: MIT
//
// Numbers of tensors: conversions of every 16-bit number, rows by themselves, and what is refused.
#include <posenc/gguf/dequantise.hpp>

#include "../support/catch.hpp"
#include "read_all.hpp"
#include "writer.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

using namespace posenc;

namespace dequantise_cases {

using namespace gguf_test;
using gguf::Tensor;
using gguf::Type;

/// From the definition: sign, exponent of 5 bits with bias 15, significand of 10 bits.
double value_of_half(int bits) {
  const int exponent = bits >> 10 & 31, significand = bits & 1023;
  double value =
      exponent == 0 ? std::ldexp(significand, -24) : std::ldexp(1024 + significand, exponent - 25);
  if (exponent == 31) value = std::numeric_limits<double>::infinity();
  return bits >> 15 != 0 ? -value : value;
}

TEST_CASE("gguf: every half and every bfloat16") {
  Bytes bytes;
  for (std::uint32_t bits = 0; bits < 65'536; ++bits)
    bytes.number(static_cast<std::uint16_t>(bits));
  const std::vector<float> halfs =
      gguf::dequantise({.name = "all", .shape = {65'536}, .type = Type::f16, .data = bytes.all()});
  const std::vector<float> bfloats =
      gguf::dequantise({.name = "all", .shape = {65'536}, .type = Type::bf16, .data = bytes.all()});
  int wrong = 0;
  for (int bits = 0; bits < 65'536; ++bits) {
    const float half = halfs[static_cast<std::size_t>(bits)];
    const double expected = value_of_half(bits);
    if ((bits & 0x7fff) > 0x7c00)
      wrong += !std::isnan(half);
    else
      wrong +=
          static_cast<double>(half) != expected || std::signbit(half) != std::signbit(expected);
    wrong += std::bit_cast<std::uint32_t>(bfloats[static_cast<std::size_t>(bits)]) !=
             static_cast<std::uint32_t>(bits) << 16;
  }
  CHECK(wrong == 0);
}

TEST_CASE("gguf: some rows are those of the whole, whatever the axes") {
  Bytes bytes;
  for (std::uint32_t i = 0; i < 24 * 34; ++i)
    bytes.number(static_cast<std::uint8_t>(i % 34 == 1 ? 0x3c : i * 7));
  const Tensor tensor{.name = "t", .shape = {64, 3, 2, 2}, .type = Type::q8_0, .data = bytes.all()};
  const std::vector<float> whole = gguf::dequantise(tensor);
  REQUIRE(std::ssize(whole) == Index{64} * 12);
  for (Index first = 0; first <= 12; ++first)
    for (Index rows = 0; rows <= 12 - first; ++rows) {
      std::vector<float> some(static_cast<std::size_t>(64 * rows));
      gguf::dequantise(tensor, first, rows, some);
      REQUIRE(some ==
              std::vector<float>(whole.begin() + 64 * first, whole.begin() + 64 * (first + rows)));
    }
}

TEST_CASE("gguf: rows, output and tensors that do not fit are refused") {
  const Bytes bytes = floats({1, 2, 3, 4, 5, 6});
  const Tensor tensor{.name = "t", .shape = {3, 2}, .type = Type::f32, .data = bytes.all()};
  std::vector<float> out(3);
  const auto of_rows = [&](Index first, Index rows) {
    return sentence_of([&] { gguf::dequantise(tensor, first, rows, out); });
  };
  CHECK(of_rows(1, 1).empty());
  CHECK(out == std::vector<float>{4, 5, 6});
  CHECK(of_rows(2, 1) == "1 rows from row 2 on were asked for of tensor \"t\", which has 2.");
  constexpr Index most = std::numeric_limits<Index>::max(),
                  least = std::numeric_limits<Index>::min();
  for (const auto& [first, rows] : std::vector<std::pair<Index, Index>>{
           {-1, 1}, {0, 3}, {0, -1}, {1, most}, {most, 1}, {least, 1}, {least, least}, {3, 0}})
    CHECK_THAT(of_rows(first, rows), EndsWith("of tensor \"t\", which has 2."));
  CHECK(of_rows(0, 2) ==
        "2 rows of 3 elements of tensor \"t\" need as many floats, and out has 3.");

  const auto of = [&](const std::vector<Index>& shape, Type type) {
    const Tensor wrong{.name = "w", .shape = shape, .type = type, .data = bytes.all()};
    return sentence_of([&] { static_cast<void>(gguf::dequantise(wrong)); });
  };
  CHECK(of({3, 3}, Type::f32) ==
        "tensor \"w\" of the shape [3, 3] takes 36 bytes as F32, and has 24.");
  CHECK(of({2, 2}, Type::f32) ==
        "tensor \"w\" of the shape [2, 2] takes 16 bytes as F32, and has 24.");
  CHECK_THAT(of({16}, Type::q5_1), StartsWith("tensor \"w\" has rows of 16 elements"));
  CHECK(of({32}, Type::q5_1).empty());
  CHECK(!of({}, Type::f32).empty());
  CHECK(!of({-3, -2}, Type::f32).empty());
  CHECK(!of({1, 1, 1, 1, 6}, Type::f32).empty());
  CHECK_THAT(of({6}, static_cast<Type>(4)), StartsWith("tensor \"w\" is stored as type 4; only"));
}

}  // namespace dequantise_cases
