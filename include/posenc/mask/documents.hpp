// SPDX-License-Identifier: MIT
//
// Documents: several documents packed into one sequence, each blind to the others.
//
//   visible: document(query_index) == document(key_index)
//
// A document is a run of tokens, and the last one has no end. Compose with Causal{} for a language
// model. Distances within a document are right as they are; absolute encodings, and schemes that
// look at absolute positions (LogN, StepTemperature), want the positions() that restart.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct Documents {
  std::vector<Position> starts{0};  ///< index of the first token of each document

  /// From the document of each token. Throws Error when a document is not one run of tokens.
  [[nodiscard]] static Documents from_ids(const std::vector<Position>& ids) {
    Documents documents;
    std::vector<Position> runs;
    for (std::size_t token = 0; token < ids.size(); ++token)
      if (token == 0 || ids[token] != ids[token - 1]) {
        if (token != 0) documents.starts.push_back(static_cast<Position>(token));
        runs.push_back(ids[token]);
      }
    std::sort(runs.begin(), runs.end());
    Problems problems;
    if (const auto twice = std::adjacent_find(runs.begin(), runs.end()); twice != runs.end())
      problems.add("the tokens of a document must be next to each other, but those of document ",
                   *twice, " are not.");
    problems.raise_if_any("posenc::Documents::from_ids");
    return documents;
  }

  /// From the number of tokens of each document; what follows the last belongs to one more
  /// document. Throws Error when a length is negative; empty documents are dropped.
  [[nodiscard]] static Documents from_lengths(const std::vector<Position>& lengths) {
    Documents documents;
    Problems problems;
    Position start = 0;
    for (const Position length : lengths) {
      problems.require(length >= 0 && length <= std::numeric_limits<Position>::max() - start,
                       "lengths must not be negative and must sum to a Position, got ", length,
                       ".");
      problems.raise_if_any("posenc::Documents::from_lengths");
      start += length;
      if (length != 0) documents.starts.push_back(start);
    }
    return documents;
  }

  /// Positions of the first `tokens` tokens that restart at 0 in each document.
  [[nodiscard]] std::vector<Position> positions(Index tokens) const {
    std::vector<Position> positions;
    if (tokens > 0) positions.reserve(static_cast<std::size_t>(tokens));
    auto next = starts.begin();
    Position start = 0;
    for (Position token = 0; token < tokens; ++token) {
      for (; next != starts.end() && *next <= token; ++next) start = *next;
      positions.push_back(token - start);
    }
    return positions;
  }

  /// The document of a token: 0, 1, ...
  [[nodiscard]] Index document(Position index) const {
    return std::upper_bound(starts.begin(), starts.end(), index) - starts.begin() - 1;
  }

  [[nodiscard]] bool visible(const Score& at) const {
    return document(at.query_index) == document(at.key_index);
  }

  [[nodiscard]] TileClass classify(const Tile& tile) const {
    const Index first_query = document(tile.query_index.first);
    const Index last_query = document(tile.query_index.last);
    const Index first_key = document(tile.key_index.first);
    const Index last_key = document(tile.key_index.last);
    if (first_query > last_key || first_key > last_query) return TileClass::none;
    const bool one = first_query == last_query && first_key == last_key && first_query == first_key;
    return one ? TileClass::full : TileClass::partial;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(!starts.empty() && starts.front() == 0,
                     "Documents: the first document must start at token 0",
                     starts.empty() ? ", got no document." : ".");
    for (std::size_t i = 1; i < starts.size(); ++i)
      if (starts[i] <= starts[i - 1]) {
        problems.add("Documents: starts must increase, got ", starts[i], " after ", starts[i - 1],
                     ".");
        break;
      }
  }
};

POSENC_NAMESPACE_END
