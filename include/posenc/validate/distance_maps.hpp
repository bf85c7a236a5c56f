// SPDX-License-Identifier: MIT
//
// Distance maps: what they say of regions, by which attention computes, against distance(query, key).
//
//   in the region r of a pair    query_position(r, query) step(r) - key_position(r, key) step(r) = distance
//   of a tile                    regions(tile) names the region of every pair
//   keys                         key_copy and stored_keys name copies that are the same for every key
#pragma once

#include <posenc/validate/samples.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The pairs: region, distance and positions.
template <DistanceMap M>
void validate_pairs_of_map(Problems& problems, const M& map, Samples& samples, Position first) {
  Finding range, distance;
  for (Index i = 0; i < 20 * samples.options().tiles; ++i) {
    const auto [query, key] = samples.pair(first);
    const int region = map.region(query, key);
    const bool in_range = region >= 0 && region < M::num_regions;
    range.require(in_range, "region says ", region, " of query ", query, " and key ", key,
                  ", but regions are 0 to ", M::num_regions - 1, ".");
    if (!in_range) continue;
    const double step = map.step(region), at_query = map.query_position(region, query),
                 at_key = static_cast<double>(map.key_position(region, key)),
                 says = map.distance(query, key);
    const double found = at_query * step - at_key * step;
    const double size = std::max({1.0, std::abs(at_query * step), std::abs(at_key * step)});
    distance.require(std::abs(found - says) <= 1e-9 * size, "distance says ", says, " of query ",
                     query, " and key ", key, ", but region ", region, " has ", found, ": (",
                     at_query, " - ", at_key, ") times a step of ", step, ".");
  }
  range.report(problems);
  distance.report(problems);
}

template <DistanceMap M>
void validate_regions(Problems& problems, const M& map, Samples& samples, Position first) {
  Finding missed;
  for (Index i = 0; i < samples.options().tiles; ++i) {
    SampledTile s = samples.tile(first);
    const RegionSet named = map.regions(s.tile);
    samples.for_pairs(s, [&](Index q, Index k) {
      const Score at = s.score(q, k, 0);
      const int region = map.region(at.query, at.key);
      missed.require((named >> region & 1U) != 0, "regions leaves out region ", region,
                     " of the tile of ", TileText{s.tile}, ", where ", ScoreText{at}, " lies.");
    });
  }
  missed.report(problems);
}

/// Copies of keys that are said to be the same.
template <DistanceMap M>
void validate_copies(Problems& problems, const M& map, Samples& samples, Position first) {
  Finding copies, least, stored;
  const auto same_key = [&](Finding& finding, const char* who, int a, int b) {
    for (int i = 0; i < 500; ++i) {
      const Position key = samples.pair(first).key;
      finding.require(map.step(a) == map.step(b) &&
                          map.key_position(a, key) == map.key_position(b, key),
                      who, " says that regions ", a, " and ", b, " have the same keys, but key ",
                      key, " is at ", map.key_position(a, key), " in steps of ", map.step(a),
                      " and at ", map.key_position(b, key), " in steps of ", map.step(b), ".");
    }
  };
  for (int region = 0; region < M::num_regions; ++region) {
    if constexpr (requires { map.key_copy(region); }) {
      const int copy = map.key_copy(region);
      const bool is_least = copy >= 0 && copy <= region && map.key_copy(copy) == copy;
      least.require(is_least, "key_copy of region ", region, " is ", copy,
                    ", which is not the least region with these keys.");
      if (is_least) same_key(copies, "key_copy", copy, region);
    }
    if constexpr (requires { M::stored_keys; })
      if (M::stored_keys != KeyState::raw) same_key(stored, "stored_keys", 0, region);
  }
  if constexpr (requires { M::stored_keys; })
    for (int i = 0; M::stored_keys == KeyState::rotated && i < 500; ++i) {
      const Position key = samples.pair(first).key;
      stored.require(map.key_position(0, key) == key && map.step(0) == 1,
                     "stored_keys says that keys stand at their own positions, but key ", key,
                     " is at ", map.key_position(0, key), " in steps of ", map.step(0), ".");
    }
  copies.report(problems);
  least.report(problems);
  stored.report(problems);
}

template <DistanceMap M>
void validate_map(Problems& problems, const M& map, const ValidateOptions& options) {
  constexpr int most = 8 * sizeof(RegionSet);
  if (M::num_regions < 1 || M::num_regions > most)
    return problems.add("num_regions must lie within [1, ", most, "], got ", M::num_regions, ".");
  Samples samples(options);
  const Position first = -options.extent / 4;
  samples.find_edges(first, [&](Position query, Position key) { return map.region(query, key); });
  const std::size_t before = problems.sentences().size();
  validate_pairs_of_map(problems, map, samples, first);
  if (problems.sentences().size() == before) validate_regions(problems, map, samples, first);
  validate_copies(problems, map, samples, first);
}

}  // namespace detail

POSENC_NAMESPACE_END
