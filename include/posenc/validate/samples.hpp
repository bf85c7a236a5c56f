// SPDX-License-Identifier: MIT
//
// What validate() asks a component about: tiles of many sizes, and the pairs in them.
//
// Most tiles say nothing: an answer for a rectangle goes wrong by one token at the edge of a window. So the
// places are found at which answers change along some rows, and a part of the tiles has a corner there.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/schedule/random.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// What validate() samples.
struct ValidateOptions {
  HeadShape shape{.num_heads = 4, .num_kv_heads = 4, .head_dim = 64};
  /// Tokens of a sequence: indices are below. Make it greater than the numbers of your component (window,
  /// chunk, reach), so that what changes there is met.
  Position extent = 4096;
  /// Tokens also stand at other positions than their indices, negative ones among them. Without it a
  /// component may read memory of its own by position.
  bool position_ids = true;
  Index tiles = 1500;
  std::uint64_t seed = 1;
  /// Of two answers that are numbers, relative to the greater of them and 1.
  double tolerance = 1e-5;
};

namespace detail {

/// Two tokens of a sequence.
struct TokenPair {
  Position query = 0, key = 0;
};

/// A rectangle of tokens, and where they stand.
struct SampledTile {
  Position query = 0, key = 0;  ///< the first of each
  std::vector<Position> query_positions{}, key_positions{};
  Tile tile{};

  [[nodiscard]] Score score(Index q, Index k, Index head) const {
    return {query_positions[static_cast<std::size_t>(q)],
            key_positions[static_cast<std::size_t>(k)], query + q, key + k, head};
  }
};

class Samples {
 public:
  explicit Samples(const ValidateOptions& options) : options_(options), random_(options.seed) {}

  /// Finds pairs next to which an answer, an int, changes along a row: f(query, key).
  template <class F>
  void find_edges(Position first, const F& answer) {
    const Position last = options_.extent - 1;
    std::vector<Position> rows{first, 0, 1, last / 2, last - 1, last};
    for (int i = 0; i < 18; ++i) rows.push_back(random_.integer(first, last));
    for (const Position query : rows) {
      auto before = answer(query, first);
      for (Position key = first + 1; key <= last; ++key) {
        const auto now = answer(query, key);
        if (now != before && edges_.size() < most_edges) edges_.push_back({query, key});
        before = now;
      }
    }
  }

  /// A pair of tokens from `first` on: at an edge, near each other, or anywhere.
  [[nodiscard]] TokenPair pair(Position first) {
    const Position last = options_.extent - 1;
    const auto within = [&](Position p) { return std::clamp(p, first, last); };
    const auto kind = random_.integer(0, 3);
    if (kind <= 1 && !edges_.empty()) {
      const TokenPair edge =
          edges_[static_cast<std::size_t>(random_.integer(0, std::ssize(edges_) - 1))];
      // An edge that belongs to the distance lies on a diagonal.
      const Position along = random_.integer(0, 1) == 0 ? 0 : random_.integer(-64, 64);
      return {within(edge.query + along + random_.integer(-1, 1)),
              within(edge.key + along + random_.integer(-1, 1))};
    }
    const Position query = random_.integer(first, last);
    if (kind == 2) return {query, within(query + random_.integer(-70, 70))};
    return {query, random_.integer(first, last)};
  }

  /// A tile with a corner at such a pair. Positions are the indices, or others: shifted, spread out,
  /// beginning anew in the middle.
  [[nodiscard]] SampledTile tile(Position first, bool consecutive = false) {
    const TokenPair corner = pair(first);
    Index queries = side(), keys = side();
    SampledTile s;
    s.query = std::max(first, corner.query - (random_.integer(0, 1) == 0 ? 0 : queries - 1));
    s.key = std::max(first, corner.key - (random_.integer(0, 1) == 0 ? 0 : keys - 1));
    queries = std::min<Index>(queries, options_.extent - s.query);
    keys = std::min<Index>(keys, options_.extent - s.key);
    const auto kind = options_.position_ids ? random_.integer(0, 3) : 0;
    place(s.query, queries, consecutive ? std::min<Position>(kind, 1) : kind, s.query_positions);
    place(s.key, keys, kind, s.key_positions);
    // All heads together, or one of them.
    const Position last_head = options_.shape.num_heads - 1, one = s.query % (last_head + 1);
    s.tile = {bounds(s.query_positions),
              bounds(s.key_positions),
              {s.query, s.query + queries - 1},
              {s.key, s.key + keys - 1},
              s.query % 2 == 0 ? Interval{0, last_head} : Interval{one, one}};
    return s;
  }

  /// Calls f(query, key), counted from the tile's first: all pairs of a small tile, of a large one its
  /// border and some others.
  template <class F>
  void for_pairs(const SampledTile& s, const F& f) {
    const Index queries = std::ssize(s.query_positions), keys = std::ssize(s.key_positions);
    const bool all = queries * keys <= 2500;
    for (Index q = 0; q < queries; ++q)
      if (all || q == 0 || q == queries - 1)
        for (Index k = 0; k < keys; ++k) f(q, k);
      else
        for (const Index k : {Index{0}, keys - 1, Index{random_.integer(0, keys - 1)}}) f(q, k);
  }

  [[nodiscard]] Index head() { return random_.integer(0, options_.shape.num_heads - 1); }
  [[nodiscard]] SeededRandom& random() { return random_; }
  [[nodiscard]] const ValidateOptions& options() const { return options_; }

 private:
  static constexpr std::size_t most_edges = 4096;

  [[nodiscard]] Index side() {
    constexpr std::array<Index, 12> sides{1, 1, 2, 3, 5, 8, 16, 31, 63, 64, 65, 256};
    return sides[static_cast<std::size_t>(random_.integer(0, std::ssize(sides) - 1))];
  }
  static Interval bounds(const std::vector<Position>& positions) {
    const auto [least, greatest] = std::minmax_element(positions.begin(), positions.end());
    return {*least, *greatest};
  }
  void place(Position first, Index tokens, Position kind, std::vector<Position>& positions) {
    Position at = first + (kind == 1 ? random_.integer(-options_.extent, options_.extent) : 0);
    for (Index t = 0; t < tokens; ++t, ++at) {
      if (kind == 2) at += random_.integer(0, 3);
      if (kind == 3 && t == tokens / 2) at = 0;
      positions.push_back(at);
    }
  }

  ValidateOptions options_;
  SeededRandom random_;
  std::vector<TokenPair> edges_;
};

/// A kind of contradiction: the first one is told, the others are counted.
class Finding {
 public:
  template <class... Parts>
  void require(bool holds, const Parts&... parts) {
    if (holds) return;
    if (++count_ == 1) first_.add(parts...);
  }
  void report(Problems& problems) const {
    if (count_ == 1) problems.add(first_.sentences().front());
    if (count_ > 1)
      problems.add(first_.sentences().front(), " (The first of ", count_, " such findings.)");
  }

 private:
  Problems first_;
  Index count_ = 0;
};

/// The two are the same number, or as near as the options want it; also both the same infinity.
[[nodiscard]] inline bool agree(double a, double b, double tolerance) {
  return a == b || std::abs(a - b) <= tolerance * std::max({1.0, std::abs(a), std::abs(b)});
}

/// A tile and a pair in sentences.
struct TileText {
  const Tile& tile;
  friend std::ostream& operator<<(std::ostream& out, const TileText& text) {
    const auto interval = [&](const char* what, const Interval& i) {
      out << what << " " << i.first << " to " << i.last;
    };
    interval("queries", text.tile.query_index);
    interval(" at positions", text.tile.query);
    interval(" and keys", text.tile.key_index);
    interval(" at positions", text.tile.key);
    return out;
  }
};
struct ScoreText {
  const Score& at;
  friend std::ostream& operator<<(std::ostream& out, const ScoreText& text) {
    return out << "query " << text.at.query_index << " at position " << text.at.query << ", key "
               << text.at.key_index << " at position " << text.at.key << ", head " << text.at.head;
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
