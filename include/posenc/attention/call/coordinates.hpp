// SPDX-License-Identifier: MIT
//
// Where the tokens of a call stand, and which positions attention accepts.
#pragma once

#include <posenc/attention/options.hpp>
#include <posenc/bind/length.hpp>
#include <posenc/core/score.hpp>
#include <posenc/rotary/growth.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Indices and positions of the tokens of one call.
struct Coordinates {
  Position query_offset = 0;
  Position key_offset = 0;
  Positions query{};  ///< positions by query row
  Positions key{};    ///< positions by key row
};

/// Reports positions by which the encoding's queries or keys cannot be rotated.
POSENC_DETAIL_COLD inline void check_attended(Problems& problems, const char* what,
                                              const Positions& positions, Index tokens,
                                              const RotaryState& rotary) {
  if (positions.is_real())
    return problems.add(what,
                        ": attention takes whole positions, got real ones: rotate() takes them, "
                        "for an attention without a rotary base.");
  const std::size_t before = problems.sentences().size();
  positions.check(problems, what, tokens);
  problems.require(positions.axes() == 1 || positions.axes() == rotary.axes, what,
                   ": got positions of ", positions.axes(),
                   " coordinates, but the encoding turns by ", rotary.axes, ".");
  if (problems.sentences().size() == before)
    check_growth(problems, what, rotary, positions, tokens);
}

/// Resolves offsets and ids; reports what is out of range.
template <class T>
POSENC_DETAIL_COLD Coordinates coordinates(Problems& problems, Index queries, Index keys,
                                           const AttentionOptions<T>& options,
                                           const RotaryState& rotary) {
  Coordinates at;
  const Positions key_indices(options.key_offset);
  key_indices.check(problems, "keys", keys);
  if (!problems.empty()) return at;
  at.key_offset = options.key_offset;
  at.query_offset = options.query_offset.value_or(options.key_offset + keys - queries);
  problems.require(options.query_offset || queries <= keys, "there are ", queries,
                   " queries but only ", keys,
                   " keys, so queries are not the last tokens of the sequence: set query_offset.");
  Positions(at.query_offset).check(problems, "queries", queries);
  at.query = options.query_positions ? *options.query_positions : Positions(at.query_offset);
  at.key = options.key_positions ? *options.key_positions : key_indices;
  check_attended(problems, "queries", at.query, queries, rotary);
  check_attended(problems, "keys", at.key, keys, rotary);
  return at;
}

/// The length of the context that these tokens make: one more than the greatest position.
inline Position context_length(const Coordinates& at, Index queries, Index keys) {
  return std::max<Position>({0, at.query.length(queries), at.key.length(keys)});
}

}  // namespace detail

POSENC_NAMESPACE_END
