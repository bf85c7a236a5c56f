// SPDX-License-Identifier: MIT
#include <posenc/mask/documents.hpp>

#include "../support/sentences.hpp"
#include "check_mask.hpp"

using namespace posenc;

namespace documents_cases {
/// The document of each token, counted one by one.
std::vector<int> ids_of(const std::vector<Position>& starts, Position tokens) {
  std::vector<int> ids;
  int id = -1;
  for (Position token = 0; token < tokens; ++token) {
    for (const Position start : starts) id += start == token;
    ids.push_back(id);
  }
  return ids;
}

TEST_CASE("Documents: pairs and tiles") {
  for (const std::vector<Position>& starts :
       {std::vector<Position>{0}, {0, 1}, {0, 10, 11, 12, 40}, {0, 16, 32, 48, 64}, {0, 1000}}) {
    const std::vector<int> ids = ids_of(starts, 200);
    mask_is(
        Documents{starts},
        [&](Position query, Position key) {
          return ids[static_cast<std::size_t>(query)] == ids[static_cast<std::size_t>(key)];
        },
        Tiles::exact);
  }
}

TEST_CASE("Documents: from ids, lengths and starts") {
  CHECK(Documents::from_ids({7, 7, 7, 2, 2, 9}).starts == std::vector<Position>{0, 3, 5});
  CHECK(Documents::from_ids({}).starts == std::vector<Position>{0});
  CHECK(Documents::from_lengths({3, 0, 2}).starts == std::vector<Position>{0, 3, 5});
  CHECK(Documents::from_lengths({}).starts == std::vector<Position>{0});
  CHECK(Documents{}.starts == std::vector<Position>{0});
  CHECK_THROWS_WITH(Documents::from_ids({1, 1, 2, 1}),
                    ContainsSubstring("those of document 1 are not"));
  CHECK_THROWS_WITH(Documents::from_lengths({3, -1}), ContainsSubstring("must not be negative"));
  CHECK_THROWS_AS(Documents::from_lengths({std::numeric_limits<Position>::max(), 1}), Error);
}

TEST_CASE("Documents: positions restart") {
  CHECK(Documents{.starts = {0, 3, 4}}.positions(7) == std::vector<Position>{0, 1, 2, 0, 0, 1, 2});
  CHECK(Documents{}.positions(3) == std::vector<Position>{0, 1, 2});
  CHECK(Documents{.starts = {0, 3}}.positions(2) == std::vector<Position>{0, 1});
  CHECK(Documents{}.positions(0).empty());
}

TEST_CASE("Documents: what is wrong is said") {
  CHECK(sentences_of(Documents{.starts = {0, 5, 6}}).empty());
  CHECK_THAT(sentences_of(Documents{.starts = {}}), ContainsSubstring("got no document"));
  CHECK_THAT(sentences_of(Documents{.starts = {1, 5}}), ContainsSubstring("must start at token 0"));
  CHECK_THAT(sentences_of(Documents{.starts = {0, 5, 5}}),
             ContainsSubstring("starts must increase, got 5 after 5"));
}

}  // namespace documents_cases
