// SPDX-License-Identifier: MIT
#include <posenc/mask/chunked_causal.hpp>

#include "../support/sentences.hpp"
#include "check_mask.hpp"

#include <cmath>

using namespace posenc;

TEST_CASE("ChunkedCausal: pairs and tiles") {
  for (const Position chunk : {1, 2, 7, 16, 1000})
    mask_is(
        ChunkedCausal{chunk},
        [&](Position query, Position key) {
          const auto chunk_of = [&](Position index) {
            return std::floor(static_cast<double>(index) / static_cast<double>(chunk));
          };
          return key <= query && chunk_of(key) == chunk_of(query);
        },
        Tiles::conservative);
}

TEST_CASE("ChunkedCausal: Llama 4's chunks") {
  const auto sees = [](Position query, Position key) {
    return ChunkedCausal{}.visible({.query_index = query, .key_index = key});
  };
  CHECK(sees(8191, 0));
  CHECK_FALSE(sees(8192, 8191));
  CHECK(sees(8192, 8192));
}

TEST_CASE("ChunkedCausal: what is wrong is said") {
  CHECK(sentences_of(ChunkedCausal{}).empty());
  CHECK_THAT(sentences_of(ChunkedCausal{0}), ContainsSubstring("chunk must be positive, got 0"));
}
