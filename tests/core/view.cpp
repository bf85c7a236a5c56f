// SPDX-License-Identifier: MIT
#include <posenc/core/view.hpp>

#include "../support/catch.hpp"

#include <array>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

using namespace posenc;

namespace view_cases {

constexpr Index greatest = std::numeric_limits<Index>::max();

std::vector<int> counting(std::size_t n) {
  std::vector<int> values(n);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

TEST_CASE("TensorView: contiguous memory is token, head, channel") {
  std::vector<int> memory = counting(3 * 2 * 5);
  const TensorView<int> view(memory.data(), 3, 2, 5);
  for (Index t = 0; t < 3; ++t)
    for (Index h = 0; h < 2; ++h)
      for (Index c = 0; c < 5; ++c) {
        CHECK(view(t, h, c) == (t * 2 + h) * 5 + c);
        CHECK(view.row(t, h) + c == &view(t, h, c));
      }
  view(2, 1, 4) = -1;
  CHECK(memory.back() == -1);
}

TEST_CASE("TensorView: head_major is head, token, channel") {
  std::vector<int> memory = counting(3 * 2 * 5);
  const auto view = TensorView<int>::head_major(memory.data(), 2, 3, 5);
  CHECK(view.tokens == 3);
  CHECK(view.heads == 2);
  CHECK(view.width == 5);
  for (Index t = 0; t < 3; ++t)
    for (Index h = 0; h < 2; ++h)
      for (Index c = 0; c < 5; ++c) CHECK(view(t, h, c) == (h * 3 + t) * 5 + c);
}

TEST_CASE("TensorView: strides may be anything") {
  std::vector<int> memory = counting(60);
  const TensorView<int> backwards(memory.data() + 59, 3, 2, 5, -20, -10, -2);
  CHECK(backwards(0, 0, 0) == 59);
  CHECK(backwards(1, 0, 0) == 39);
  CHECK(backwards(0, 1, 0) == 49);
  CHECK(backwards(2, 1, 4) == 1);

  const TensorView<int> shared(memory.data(), 3, 7, 5, 5, 0);
  CHECK(shared(2, 6, 1) == shared(2, 0, 1));
}

TEST_CASE("TensorView: a slice is a part of the tokens, without a copy") {
  std::vector<int> memory = counting(4 * 2 * 3);
  const TensorView<int> view(memory.data(), 4, 2, 3);
  const TensorView<int> middle = view.slice(1, 2);
  CHECK(middle.tokens == 2);
  CHECK(&middle(0, 0, 0) == &view(1, 0, 0));
  CHECK(&middle(1, 1, 2) == &view(2, 1, 2));

  const auto heads_first = TensorView<int>::head_major(memory.data(), 2, 4, 3);
  const auto tail = heads_first.slice(3, 1);
  CHECK(&tail(0, 1, 2) == &heads_first(3, 1, 2));

  CHECK(view.slice(0, 4).tokens == 4);
  CHECK(view.slice(4, 0).tokens == 0);
  CHECK(view.slice(1, 3).slice(1, 2).data == view.row(2, 0));
}

TEST_CASE("TensorView: a slice outside of the tokens is refused") {
  std::vector<int> memory(12);
  const TensorView<int> view(memory.data(), 4, 1, 3);
  for (const auto& [first, count] :
       std::vector<std::pair<Index, Index>>{{-1, 1},
                                            {0, -1},
                                            {0, 5},
                                            {4, 1},
                                            {5, 0},
                                            {greatest, 1},
                                            {1, greatest},
                                            {greatest, greatest},
                                            {std::numeric_limits<Index>::min(), 1}}) {
    INFO("slice(" << first << ", " << count << ")");
    CHECK_THROWS_WITH(view.slice(first, count),
                      StartsWith("posenc::TensorView::slice: tokens [") &&
                          ContainsSubstring("are not within the 4 tokens of the view."));
  }
}

TEST_CASE("TensorView: a view of T reads as a view of const T, and not the other way") {
  std::vector<float> memory(12);
  const TensorView<float> view(memory.data(), 2, 2, 1, 6, 3, 2);
  const TensorView<const float> read = view;
  CHECK(read.data == view.data);
  CHECK(read.token_stride == 6);
  CHECK(read.head_stride == 3);
  CHECK(read.channel_stride == 2);
  STATIC_REQUIRE(std::is_convertible_v<TensorView<float>, TensorView<const float>>);
  STATIC_REQUIRE(!std::is_convertible_v<TensorView<const float>, TensorView<float>>);
  STATIC_REQUIRE(!std::is_convertible_v<TensorView<float>, TensorView<const double>>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<TensorView<float>>);
}

TEST_CASE("TensorView: constant expressions") {
  static constexpr int memory[6] = {1, 2, 3, 4, 5, 6};
  constexpr TensorView<const int> view(memory, 3, 1, 2);
  STATIC_REQUIRE(view(1, 0, 1) == 4);
  STATIC_REQUIRE(view.slice(2, 1)(0, 0, 0) == 5);
  STATIC_REQUIRE(TensorView<const int>::head_major(memory, 3, 1, 2)(0, 2, 1) == 6);
}

TEST_CASE("TensorView: negative sizes and sizes whose product does not fit are refused") {
  float x = 0;
  const auto refused = ContainsSubstring("sizes must not be negative and their product must fit");
  using View = TensorView<float>;
  for (const auto& [tokens, heads, width] :
       std::vector<std::array<Index, 3>>{{-1, 1, 1},
                                         {1, -1, 1},
                                         {1, 1, -1},
                                         {-1, -1, 1},
                                         {0, -1, 0},
                                         {greatest, 1, 1},
                                         {greatest / 2, 1, 1},
                                         {greatest / 4 + 1, 1, 1},
                                         {Index{1} << 31, Index{1} << 31, 2},
                                         {1, greatest, 2},
                                         {2, greatest, greatest},
                                         {Index{1} << 32, Index{1} << 32, 1}}) {
    INFO("[" << tokens << ", " << heads << ", " << width << "]");
    CHECK_THROWS_WITH(View(&x, tokens, heads, width), refused);
    CHECK_THROWS_WITH(View::head_major(&x, heads, tokens, width), refused);
  }
  CHECK_THROWS_WITH(View(&x, -7, 3, 2), ContainsSubstring("[-7 tokens, 3 heads, 2 channels]"));
  CHECK_NOTHROW(View(&x, greatest / 4, 1, 1));
}

TEST_CASE("TensorView: a size of zero makes any view empty") {
  for (const auto& [tokens, heads, width] :
       std::vector<std::array<Index, 3>>{{0, 0, 0}, {0, 3, 4}, {2, 0, 4}, {2, 3, 0}}) {
    const TensorView<float> view(nullptr, tokens, heads, width);
    CHECK(view.tokens == tokens);
    CHECK(view.slice(0, tokens).heads == heads);
  }
  CHECK(TensorView<float>{}.tokens == 0);
}

TEST_CASE("TensorView: strides of empty views do not overflow") {
  // No elements, but the stride of a head, tokens * width, would not fit.
  volatile Index runtime = Index{1} << 40;
  const Index big = runtime;
  bool fine = true;
  try {
    fine = TensorView<float>::head_major(nullptr, 0, big, big).heads == 0;
  } catch (const Error&) {
    // Refusing is fine as well.
  }
  CHECK(fine);
}

}  // namespace view_cases
