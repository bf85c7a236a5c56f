// SPDX-License-Identifier: MIT
//
// A selection in a call to decode: each choice is a source of keys of its own, as a sequence is, with its queries
// and heads.
#pragma once

#include <posenc/attention/decode/checks.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The chosen keys of a sequence, counted by their place among the chosen ones.
template <class T>
struct ChosenKeys {
  using U = arithmetic_t<T>;

  const CachedSequence<T>* cached = nullptr;
  Selection::Choice choice{};
  bool moved_together = false;

  /// To be read as long as this is.
  [[nodiscard]] KeySource<U> source() const {
    KeySource<U> source = cached->keys.source();
    source.tokens = choice.tokens;
    source.self = this;
    source.find = [](const void* self, Index place, Index most) {
      return static_cast<const ChosenKeys*>(self)->find(place, most);
    };
    return source;
  }
  /// Index and position of a query of the choice.
  [[nodiscard]] Position index(Index query) const { return cached->index(own(query)); }
  [[nodiscard]] Positions place(Index query) const {
    if (!moved_together) return cached->place(own(query));
    return Positions(choice.place_of(cached->rank(own(query))));
  }

 private:
  /// Its number among the queries of the sequence.
  [[nodiscard]] Index own(Index query) const {
    return choice.readers.query - cached->first + query;
  }
  [[nodiscard]] KeyRun find(Index place, Index most) const {
    const auto after = std::upper_bound(choice.before.begin(), choice.before.end(), place);
    const auto at = static_cast<std::size_t>(after - choice.before.begin() - 1);
    const KeyRange& range = choice.ranges[at];
    const Index skipped = place - choice.before[at];
    KeyRun run = cached->keys.find(range.first + skipped, std::min(most, range.tokens - skipped));
    run.rank = place;
    if (moved_together) run.positions = Positions(place);
    return run;
  }
};

/// Reports what is wrong with the readers of a choice, among those of a call with so many rows of q.
POSENC_DETAIL_COLD inline void check_readers(Problems& problems, const Selection& selection,
                                             Index i, Index rows, const HeadShape& shape) {
  const Index all = shape.num_heads, group = all / shape.num_kv_heads;
  const auto& [query, queries, head, heads] = selection[i].readers;
  problems.require(query >= 0 && queries > 0 && query <= rows - queries, "selection: q has ", rows,
                   " rows, but choice ", i, " is for ", queries, " from row ", query, " on.");
  problems.require((heads == all || heads == group || heads == 1) && head >= 0 &&
                       head <= all - heads && head % heads == 0,
                   "selection: a choice is for all ", all, " query heads, for the ", group,
                   " of a key head, or for one, but choice ", i, " is for ", heads, " from head ",
                   head, " on.");
  const Index first = selection[0].readers.heads;
  problems.require(heads == first,
                   "selection: all choices must be for equally many heads, but choice 0 is for ",
                   first, " and choice ", i, " for ", heads, ".");
}

/// Reports encodings in which no key can be left out.
POSENC_DETAIL_COLD inline void check_choosable(Problems& problems, const Answers& answers) {
  problems.require(answers.facts().context_positions == 0,
                   "selection: positions by context (CoPE) count all keys behind one, so none can "
                   "be left out.");
}

/// Reports caches and encodings in which chosen keys cannot be moved together.
POSENC_DETAIL_COLD inline void check_placement(Problems& problems, Placement placement,
                                               KeyState state, bool has_positions,
                                               const CacheShape& shape, const Answers& answers) {
  if (placement != Placement::contiguous) return;
  problems.require(state == KeyState::raw,
                   "selection: keys that are moved together need a cache of raw keys "
                   "(KeyState::raw), since rotated ones stand where they stood.");
  problems.require(!has_positions && shape.axes == 1,
                   "selection: keys that are moved together have places 0, 1, 2, ..., so neither "
                   "query_positions nor positions of several coordinates go with them.");
  problems.require(!follows_length(answers),
                   "selection: frequencies of this encoding follow the length of a sequence, which "
                   "keys that are moved together do not have: bind it with a length.");
}

/// Reports what is wrong with a selection, up to the first choice that does not fit.
template <class Batch>
POSENC_DETAIL_COLD void check_selection(Problems& problems, const Selection& selection,
                                        const Batch& batch, const Answers& answers) {
  const CacheShape& shape = batch.cache.shape();
  check_choosable(problems, answers);
  check_placement(problems, selection.placement, Batch::state,
                  batch.options.query_positions.has_value(), shape, answers);
  for (Index i = 0; i < selection.size() && problems.empty(); ++i) {
    const Selection::Choice choice = selection[i];
    check_readers(problems, selection, i, batch.tokens, answers.shape());
    if (!problems.empty()) return;
    const Index query = choice.readers.query, queries = choice.readers.queries;
    const Index sequence = batch.sequence_of(query);
    problems.require(query + queries <= batch.start(sequence + 1), "selection: rows ", query,
                     " to ", query + queries - 1, " of choice ", i, " are of different sequences.");
    const auto cached = batch[sequence];
    const Index held = cached.keys.slots().tokens();
    Index end = 0;
    for (const KeyRange& range : choice.ranges) {
      problems.require(range.first >= end && range.first <= held && range.tokens > 0 &&
                           range.tokens <= held - range.first,
                       "selection: ranges of a choice rise, are not empty and lie within the ",
                       held, " tokens of the sequence, but choice ", i, " has ", range.tokens,
                       " tokens from rank ", range.first, " on, after rank ", end, ".");
      if (!problems.empty()) return;
      end = range.first + range.tokens;
    }
    const ChosenKeys<typename Batch::element> chosen{&cached, choice,
                                                     selection.placement == Placement::contiguous};
    check_keys(problems,
               decode_sequence(&chosen, nullptr, batch.sequence(sequence), query, queries),
               answers);
  }
}

/// Reports rows and heads that have no choice or several; `seen` is one for each row and group of heads.
POSENC_DETAIL_COLD inline void check_covers(Problems& problems, const Selection& selection,
                                            Index rows, Index groups, std::uint8_t* seen) {
  std::fill_n(seen, rows * groups, std::uint8_t{0});
  for (Index i = 0; i < selection.size(); ++i) {
    const auto& [query, queries, head, heads] = selection[i].readers;
    for (Index row = query; row < query + queries; ++row) {
      std::uint8_t& one = seen[row * groups + head / heads];
      if (one != 0)
        return problems.add("selection: row ", row, " of q and head ", head, " have two choices.");
      one = 1;
    }
  }
  const Index missed = std::find(seen, seen + rows * groups, std::uint8_t{0}) - seen;
  if (missed == rows * groups) return;
  const Index heads = selection.size() > 0 ? selection[0].readers.heads : 1;
  problems.add("selection: row ", missed / groups, " of q and head ", missed % groups * heads,
               " have no choice; one without ranges reads nothing.");
}

}  // namespace detail

POSENC_NAMESPACE_END
