// SPDX-License-Identifier: MIT
//
// Edits against a list of all of them.
#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <posenc/cache/edits.hpp>

#include <algorithm>
#include <vector>

namespace cache_test {
namespace edits_cases {

using posenc::Index;
using posenc::detail::Edits;

TEST_CASE("the least rank that has changed since a look") {
  posenc_test::Random random(1);
  for (int round = 0; round < 60; ++round) {
    Edits edits;
    std::vector<Index> all;  // first rank of edit i + 1
    const auto exact = [&](std::size_t since) {
      return since >= all.size()
                 ? Edits::none
                 : *std::min_element(all.begin() + static_cast<Index>(since), all.end());
    };
    CHECK(edits.first_since(0) == Edits::none);
    for (int i = 0; i < 200; ++i) {
      // Some sessions edit near an end that moves on, as drafts that are cut do.
      all.push_back(round % 2 ? 3 * i + random.integer(0, 5) : random.integer(0, 1'000));
      edits.add(all.back());
      REQUIRE(edits.last() == all.size());
      REQUIRE(edits.first_since(all.size()) == Edits::none);
      for (std::size_t since = 0; since < all.size(); ++since) {
        const Index got = edits.first_since(since), wanted = exact(since);
        REQUIRE(got <= wanted);
        if (all.size() <= 32) REQUIRE(got == wanted);
        // What is told instead is what a look further back would be told, no more than some times as far.
        const std::size_t age = all.size() - since;
        REQUIRE(got >= exact(all.size() - std::min(all.size(), 4 * age)));
      }
    }
  }
}

}  // namespace edits_cases
}  // namespace cache_test
