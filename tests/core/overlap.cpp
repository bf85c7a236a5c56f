// SPDX-License-Identifier: MIT
//
// overlap() against counting the addresses one by one.
#include <posenc/core/overlap.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <cstring>
#include <random>
#include <set>
#include <vector>

using namespace posenc;
using posenc_test::integer;

namespace overlap_cases {

template <class T>
std::set<std::intptr_t> bytes_of(const TensorView<T>& view) {
  std::set<std::intptr_t> bytes;
  for (Index t = 0; t < view.tokens; ++t)
    for (Index h = 0; h < view.heads; ++h)
      for (Index c = 0; c < view.width; ++c) {
        const auto first =
            reinterpret_cast<std::intptr_t>(view.data) +
            static_cast<std::intptr_t>(sizeof(T)) *
                (t * view.token_stride + h * view.head_stride + c * view.channel_stride);
        for (std::intptr_t b = 0; b < static_cast<std::intptr_t>(sizeof(T)); ++b)
          bytes.insert(first + b);
      }
  return bytes;
}

template <class A, class B>
bool share_a_byte(const TensorView<A>& a, const TensorView<B>& b) {
  const auto bytes_of_a = bytes_of(a);
  for (const std::intptr_t byte : bytes_of(b))
    if (bytes_of_a.count(byte)) return true;
  return false;
}

TEST_CASE("overlap: never misses a shared element") {
  std::mt19937 random(1);
  const auto draw = [&](Index least, Index most) { return integer(random, least, most); };
  std::vector<float> memory(4096);
  float* const middle = memory.data() + 2048;
  int missed = 0, asymmetric = 0, shared = 0, disjoint = 0, said_disjoint = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto draw_view = [&] {
      return TensorView<float>(middle + draw(-9, 9), draw(0, 4), draw(0, 3), draw(0, 3),
                               draw(-9, 9), draw(-9, 9), draw(-3, 3));
    };
    const TensorView<float> a = draw_view();
    TensorView<float> b = draw_view();
    if (i % 2) b.token_stride = a.token_stride;  // as in one packed buffer
    const bool truth = share_a_byte(a, b), answer = overlap(a, b);
    missed += truth && !answer;
    asymmetric += answer != overlap(b, a);
    shared += truth;
    disjoint += !truth;
    said_disjoint += !answer;
  }
  CHECK(missed == 0);
  CHECK(asymmetric == 0);
  CHECK(shared > 2'000);
  CHECK(disjoint > 2'000);
  CHECK(said_disjoint > disjoint / 2);  // otherwise it would be of little use
}

TEST_CASE("overlap: never misses a shared byte of two element types") {
  std::mt19937 random(2);
  const auto draw = [&](Index least, Index most) { return integer(random, least, most); };
  alignas(8) static char memory[4096];
  int missed = 0, shared = 0;
  for (int i = 0; i < 10'000; ++i) {
    const TensorView<float> a(reinterpret_cast<float*>(memory + 2048 + 4 * draw(-20, 20)),
                              draw(0, 3), draw(1, 2), draw(1, 3), 2 * draw(0, 5), draw(-4, 4),
                              draw(-2, 2));
    const TensorView<const double> b(
        reinterpret_cast<const double*>(memory + 2048 + 8 * draw(-10, 10)), draw(0, 3), draw(1, 2),
        draw(1, 3), i % 2 ? a.token_stride / 2 : draw(0, 5), draw(-4, 4), draw(-2, 2));
    const bool truth = share_a_byte(a, b);
    missed += truth && !(overlap(a, b) && overlap(b, a));
    shared += truth;
  }
  CHECK(missed == 0);
  CHECK(shared > 1'000);
}

TEST_CASE("overlap: exact for the parts of a packed buffer") {
  constexpr Index width = 3, row = 12 * width;
  std::vector<float> memory(static_cast<std::size_t>(row) * 8);
  int wrong = 0;
  for (Index first_a = 0; first_a < 12; ++first_a)
    for (Index heads_a = 1; first_a + heads_a <= 12; ++heads_a)
      for (Index first_b = 0; first_b < 12; ++first_b)
        for (Index heads_b = 1; first_b + heads_b <= 12; ++heads_b)
          for (const Index later : {0, 1}) {
            const TensorView<float> a(memory.data() + first_a * width, 5, heads_a, width, row,
                                      width);
            const TensorView<float> b(memory.data() + first_b * width + later * row, 5, heads_b,
                                      width, row, width);
            const bool truth = first_a < first_b + heads_b && first_b < first_a + heads_a;
            wrong += overlap(a, b) != truth;
          }
  CHECK(wrong == 0);
}

TEST_CASE("overlap: exact for the parts of a packed buffer of interleaved heads") {
  // [tokens][heads][q | k | v]: the parts lie between one another's heads, so the cautious answer is
  // allowed for them; q, k and v of one head are told apart.
  constexpr Index width = 4, heads = 5;
  std::vector<float> memory(static_cast<std::size_t>(7 * heads * 3 * width));
  const auto head = [&](Index h, Index part) {
    return TensorView<float>(memory.data() + (3 * h + part) * width, 7, 1, width, heads * 3 * width,
                             3 * width);
  };
  for (Index h = 0; h < heads; ++h)
    for (Index g = 0; g < heads; ++g)
      for (Index p = 0; p < 3; ++p)
        for (Index r = 0; r < 3; ++r) CHECK(overlap(head(h, p), head(g, r)) == (h == g && p == r));
}

TEST_CASE("overlap: exact where the ranges of addresses are disjoint") {
  std::vector<float> memory(200);
  const auto forwards = [&](Index first) {
    return TensorView<float>(memory.data() + first, 3, 2, 5);
  };
  const auto backwards = [&](Index last) {
    return TensorView<float>(memory.data() + last, 3, 2, 5, -10, -5, -1);
  };
  CHECK_FALSE(overlap(forwards(0), forwards(30)));
  CHECK_FALSE(overlap(forwards(30), forwards(0)));
  CHECK(overlap(forwards(0), forwards(29)));
  CHECK_FALSE(overlap(forwards(0), backwards(59)));
  CHECK(overlap(forwards(0), backwards(58)));
  CHECK(overlap(forwards(29), backwards(29)));
  CHECK_FALSE(overlap(backwards(29), backwards(59)));
  CHECK(overlap(backwards(30), backwards(59)));

  const auto head_major = [&](Index first) {
    return TensorView<float>::head_major(memory.data() + first, 2, 3, 5);
  };
  CHECK_FALSE(overlap(head_major(0), head_major(30)));
  CHECK(overlap(head_major(0), head_major(29)));
  CHECK(overlap(head_major(0), forwards(29)));
}

TEST_CASE("overlap: an empty view overlaps nothing") {
  std::vector<float> memory(20);
  const TensorView<float> all(memory.data(), 5, 2, 2);
  for (const TensorView<float>& empty :
       {TensorView<float>(memory.data(), 0, 2, 2), TensorView<float>(memory.data(), 5, 0, 2),
        TensorView<float>(memory.data(), 5, 2, 0), TensorView<float>()}) {
    CHECK_FALSE(overlap(empty, all));
    CHECK_FALSE(overlap(all, empty));
    CHECK_FALSE(overlap(empty, empty));
  }
}

TEST_CASE("overlap: a view of shared heads overlaps itself") {
  std::vector<float> memory(20);
  const TensorView<float> shared(memory.data(), 5, 3, 4, 4, 0);
  CHECK(overlap(shared, shared));
  const TensorView<float> one_token_for_all(memory.data(), 5, 1, 4, 0, 4);
  CHECK(overlap(one_token_for_all, one_token_for_all));
  CHECK_FALSE(overlap(one_token_for_all, TensorView<float>(memory.data() + 4, 4, 1, 4)));
}

TEST_CASE("same_elements: the same memory in the same order") {
  std::vector<float> memory(60);
  const TensorView<float> view(memory.data(), 3, 2, 5);
  CHECK(same_elements(view, view));
  CHECK(same_elements(TensorView<const float>(view), view));
  CHECK(same_elements(view, TensorView<float>(memory.data(), 3, 2, 5, 10, 5, 1)));
  CHECK_FALSE(same_elements(view, TensorView<float>(memory.data() + 1, 3, 2, 5)));
  CHECK_FALSE(same_elements(view, TensorView<float>(memory.data(), 2, 2, 5)));
  CHECK_FALSE(same_elements(view, TensorView<float>(memory.data(), 3, 2, 5, 11, 5)));
  CHECK_FALSE(same_elements(view, TensorView<float>::head_major(memory.data(), 2, 3, 5)));
  CHECK_FALSE(same_elements(view, TensorView<float>(memory.data(), 3, 2, 5, 10, 5, 2)));
}

TEST_CASE("same_elements: the stride of an axis of one does not matter") {
  std::vector<float> memory(60);
  const TensorView<float> one_token(memory.data(), 1, 2, 5);
  CHECK(same_elements(one_token, TensorView<float>(memory.data(), 1, 2, 5, 30, 5)));
  const TensorView<float> one_head(memory.data(), 3, 1, 5);
  CHECK(same_elements(one_head, TensorView<float>(memory.data(), 3, 1, 5, 5, 15)));
}

}  // namespace overlap_cases
