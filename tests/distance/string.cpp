// SPDX-License-Identifier: MIT
#include <posenc/distance/string.hpp>

#include "../support/sentences.hpp"
#include "check_regions.hpp"

#include <posenc/validate/validate.hpp>

#include <algorithm>
#include <limits>
#include <vector>

using namespace posenc;

namespace string_cases {

constexpr STRING maps[] = {{1, 0}, {1, 1}, {5, 0}, {5, 5}, {9, 3}, {32, 8}, {60, 59}, {500, 128}};

TEST_CASE("STRING: the distances that the reference sees when it generates") {
  // Two attentions: the last `shift` keys with the query at its own place, and the keys before them with
  // the query at its place less shift plus local (position_ids - diag_size + local_window).
  for (const STRING& map : maps)
    for (const Position tokens : {1, 2, 5, 6, 9, 10, 40, 130}) {
      const Position query = tokens - 1, diagonal = std::min(map.shift, tokens);
      std::vector<Position> expected;
      for (Position key = 0; key < tokens - diagonal; ++key)
        expected.push_back(query - map.shift + map.local - key);
      for (Position key = tokens - diagonal; key < tokens; ++key) expected.push_back(query - key);
      int wrong = 0;
      for (Position key = 0; key < tokens; ++key)
        wrong += map.distance(query, key) !=
                 static_cast<double>(expected[static_cast<std::size_t>(key)]);
      CHECK(wrong == 0);
    }
}

TEST_CASE("STRING: the paper's figure 5") {
  // Nine tokens, an offset of three: rows of the matrix of positions, without and with neighbours.
  const double shifted[] = {5, 4, 3, 2, 1, 0, 2, 1, 0};
  const double with_neighbours[] = {7, 6, 5, 4, 3, 2, 2, 1, 0};
  for (Position key = 0; key < 9; ++key) {
    CHECK(STRING{.shift = 3, .local = 0}.distance(8, key) == shifted[key]);
    CHECK(STRING{.shift = 3, .local = 2}.distance(8, key) == with_neighbours[key]);
  }
}

TEST_CASE("STRING: Llama 3.1 as its authors set it") {
  constexpr STRING map = STRING::of_length(131'072);
  static_assert(map.shift == 43'253 && map.local == 128);
  static_assert(map.distance(131'071, 0) == 87'946);
  static_assert(map.distance(43'252, 0) == 43'252 && map.distance(43'253, 0) == 128);
  static_assert(map.greatest_length(131'072) == 174'197);
  static_assert(map.distance(map.greatest_length(131'072) - 1, 0) == 131'071);
  static_assert(STRING::of_length(64).local == STRING::of_length(64).shift);
}

TEST_CASE("STRING: the future mirrors the past, shifts change nothing, shift = local is RoPE") {
  for (const STRING& map : maps) {
    int wrong = 0;
    for (Position query = -90; query < 90; ++query)
      for (Position key = -90; key < 90; ++key) {
        wrong += map.distance(query, key) != -map.distance(key, query);
        wrong += map.distance(query + 17, key + 17) != map.distance(query, key);
        if (map.shift == map.local)
          wrong += map.distance(query, key) != static_cast<double>(query - key);
      }
    CHECK(wrong == 0);
  }
}

TEST_CASE("STRING: regions") {
  for (const STRING& map : maps) {
    regions_reproduce_distance(map, -60, 90, 0);
    regions_of_tiles_are_exact(map, 100, 4);
    key_copies_are_least(map, -60, 90);
    CHECK_NOTHROW(validate(map, {.extent = 300}));
  }
}

TEST_CASE("STRING: the greatest lengths") {
  constexpr Position most = std::numeric_limits<Position>::max();
  for (const STRING& map : maps)
    for (const Position trained : {1, 6, 61, 700}) {
      const Position length = map.greatest_length(trained);
      double greatest = 0;
      for (Position key = 0; key < length; ++key)
        greatest = std::max(greatest, map.distance(length - 1, key));
      CHECK(greatest <= static_cast<double>(trained - 1));
      if (trained > map.shift) CHECK(map.distance(length, 0) == static_cast<double>(trained));
    }
  static_assert(STRING{.shift = 10, .local = 0}.greatest_length(most) == most);
  static_assert(STRING{.shift = 4, .local = 1}.greatest_length(4) == 7);  // 0, 1, 2, 3, 1, 2, 3
}

TEST_CASE("STRING: what is wrong is said") {
  CHECK(sentences_of(STRING{}).empty());
  CHECK(sentences_of(STRING{.shift = 4, .local = 4}).empty());
  CHECK(sentences_of(STRING{.shift = 0}) == "STRING: shift must be positive, got 0.\n");
  CHECK(sentences_of(STRING{.shift = 8, .local = 9}) ==
        "STRING: local must lie within [0, shift], got local 9 and shift 8.\n");
  CHECK_THAT(sentences_of(STRING{.shift = 8, .local = -1}), ContainsSubstring("got local -1"));
}

}  // namespace string_cases
