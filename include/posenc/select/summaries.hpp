// SPDX-License-Identifier: MIT
//
// Summaries: what a selector keeps of each block of the keys that a cache holds.
//
//   Summaries<Quest, Eigen::bfloat16> summaries(Quest{}, cache, bound);
//   cache.append(sequence, k, v, bound);
//   summaries.update(cache, sequence, bound);         // after append, truncate, evict, fork, shift, rebase, ...
//   select(q, cache, summaries, bound, chosen);
//
// Memory is [sequence][key head][block][number], or [query head] for selectors that need attention mass, in float or
// a 16-bit element. update() finds out by itself what has changed (cache/edits.hpp) and computes that anew: a token
// that is appended costs a block at most, and nothing where its block is not yet complete and is read in any case
// (ForcedBlocks::last). A ring that overwrites a token costs nothing: the block that it was in has no summary from
// then on and is always read, as the ring's sinks are (select/block_grid.hpp). Summaries are of one cache.
//
// Which keys are summarised follows from S::rotated:
//
//   rotated      keys as they stand in attention. A cache of raw keys is read and rotated block by block. Refused where
//                there is no such key: frequencies that follow the length, distance maps (far pairs see
//                a key at another position), streaming caches (all keys move when one is dropped). xPos's
//                magnitudes of keys are in them.
//   not rotated  keys as they were passed; a cache has to be raw for these, unless nothing rotates.
//
// Biases, masks and vectors by distance have no part in a summary.
#pragma once

#include <posenc/attention/decode/leaves.hpp>
#include <posenc/bind/length.hpp>
#include <posenc/cache/key_value_cache.hpp>
#include <posenc/core/large_memory.hpp>
#include <posenc/executor/tasks.hpp>
#include <posenc/select/block_grid.hpp>
#include <posenc/select/check_selector.hpp>
#include <posenc/select/summary_block.hpp>

#include <limits>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct SummaryOptions {
  /// Only of the first so many tokens that are held; by default all. Blocks behind them have no summary and are read.
  Index tokens = std::numeric_limits<Index>::max();
  /// Attention mass that the tokens that are held have received, [token][query head], for selectors that need it. A
  /// block is summarised with the masses of the call that finds that it is no longer read in any case (of
  /// ForcedBlocks::last), or that it has changed.
  std::span<const double> mass{};
  AnyExecutor executor{};
};

template <KeySelector S, Element T = float>
class Summaries {
  static_assert(element_format<T> != ElementFormat::float64,
                "posenc: summaries are float, or 16-bit elements to save half of the memory.");

 public:
  using selector_type = S;
  using element = T;

  /// For all sequences of a cache up to its capacity.
  /// Throws Error for parameters and encodings that the method cannot have, and when it does not fit in memory.
  template <KeyState State, class C, class E>
  Summaries(const S& selector, const KeyValueCache<State, C>& cache, const Bound<E>& bound)
      : selector_(selector), cache_(cache.shape()), of_(cache.rows().identity()) {
    Problems problems;
    check(problems, cache, bound.answers());
    problems.raise_if_any("posenc::Summaries");
    heads_ = detail::needs_mass<S> ? bound.shape().num_heads : cache_.kv_heads;
    width_ = selector.summary_width(cache_.head_dim);
    // As a ring turns, the block that goes is partly there while the one that comes is.
    most_blocks_ = (cache_.capacity - 1) / selector.block + (cache.is_ring() ? 2 : 1);
    Index rows = 0, numbers = 0;
    const bool fits =
        most_blocks_ < Index{1} << 32 && multiply(cache_.sequences * heads_, most_blocks_, rows) &&
        multiply(rows, width_, numbers) && multiply(numbers, Index{sizeof(T)}, bytes_);
    problems.require(fits, "summaries of ", cache_.sequences, " sequences of ", cache_.capacity,
                     " tokens do not fit in memory.");
    problems.raise_if_any("posenc::Summaries");
    memory_ = detail::large_memory(static_cast<std::size_t>(bytes_));
    seen_.resize(static_cast<std::size_t>(cache_.sequences));
  }

  [[nodiscard]] const S& selector() const { return selector_; }
  [[nodiscard]] Index bytes() const { return bytes_; }
  /// Heads that have summaries, and numbers in one.
  [[nodiscard]] Index heads() const { return heads_; }
  [[nodiscard]] Index width() const { return width_; }
  /// Blocks of a sequence that have a summary, and tokens in them.
  [[nodiscard]] Index blocks(Index sequence) const {
    return (tokens(sequence) + selector_.block - 1) / selector_.block;
  }
  [[nodiscard]] Index tokens(Index sequence) const {
    const Seen& seen = seen_[index(sequence)];
    return std::max<Index>(seen.end - seen.first * selector_.block, 0);
  }
  /// Summaries of a head, one block after another, so many of them in a row; then follows the one behind.
  [[nodiscard]] const T* row(Index sequence, Index head, Index block = 0) const {
    return numbers() + offset(sequence, head, seen_[index(sequence)].first + block);
  }
  [[nodiscard]] Index in_a_row(Index sequence) const {
    return most_blocks_ - seen_[index(sequence)].first % most_blocks_;
  }

  /// Brings a sequence up to date. One call at a time.
  /// Throws Error for another cache or encoding than that which this was made for.
  template <KeyState State, class C, class E>
  void update(const KeyValueCache<State, C>& cache, Index sequence, const Bound<E>& bound,
              const SummaryOptions& options = {});

  /// Reports summaries that are not of the keys that the cache holds now, as this encoding rotates them.
  template <KeyState State, class C>
  POSENC_DETAIL_COLD void check_current(Problems& problems, const KeyValueCache<State, C>& cache,
                                        Index sequence, const detail::Answers& answers) const {
    const Seen& seen = seen_[index(sequence)];
    const detail::Slots& slots = cache.slots("slots", sequence);
    const Position end = slots.next_index();
    const bool is_whole = seen.end % selector_.block == 0;
    problems.require(slots.edits().first_since(seen.edit) >= seen.end &&
                         (seen.end == 0 ||
                          seen.first == detail::BlockGrid(slots, selector_.block).first) &&
                         (is_whole ? seen.end <= end : seen.end == end),
                     "sequence ", sequence,
                     " of the cache was changed since its summaries were made: update() them.");
    problems.require(seen.end == 0 || !turns<State> || seen.rotated_by.matches(answers),
                     "the summaries of sequence ", sequence,
                     " are of keys as another encoding rotates them: update() them.");
  }
  /// Reports what summaries of this method cannot be made of.
  template <KeyState State, class C>
  POSENC_DETAIL_COLD void check(Problems& problems, const KeyValueCache<State, C>& cache,
                                const detail::Answers& answers) const;

 private:
  struct Seen {
    detail::Edits::Number edit = 0;
    Index first = 0;   ///< block of the sequence that has the first summary
    Position end = 0;  ///< index behind the last token that is summarised
    detail::RotatedBy rotated_by{};
  };
  static std::size_t index(Index n) { return static_cast<std::size_t>(n); }
  [[nodiscard]] T* numbers() const { return reinterpret_cast<T*>(memory_.data()); }
  /// Of a block of the sequence; those of a ring take each other's places.
  [[nodiscard]] Index offset(Index sequence, Index head, Index block) const {
    return ((sequence * heads_ + head) * most_blocks_ + block % most_blocks_) * width_;
  }
  /// Are keys rotated for their summary?
  template <KeyState State>
  static constexpr bool turns = S::rotated && State == KeyState::raw;
  /// Of the first `wanted` tokens that are held, those whose blocks have a summary. The last block has one before it
  /// is complete only where it competes: in most methods the block of a query's own token is read in any case. Mass
  /// grows as long as a block is read in any case, so that summaries that need it wait until the block has to be
  /// chosen.
  [[nodiscard]] Index summarised(const detail::BlockGrid& grid, Index wanted, Index held) const {
    const Index forced = selector_.forced(grid.blocks(held)).last;
    if (detail::needs_mass<S> && forced > 0)
      return std::min(grid.whole(wanted), std::max<Index>(grid.blocks(held) - forced, 0)) *
             selector_.block;
    const Index tokens = std::min(wanted, held);
    const bool whole = tokens < held || selector_.forced(grid.blocks(tokens)).last > 0;
    return whole ? grid.whole(tokens) * selector_.block : std::max<Index>(tokens - grid.origin, 0);
  }
  void store(const float* summary, T* to) const {
    for (Index i = 0; i < width_; ++i)
      if constexpr (detail::RoundsSummaries<S>)
        to[i] = narrow<T>(summary[i], selector_.rounding(i, cache_.head_dim));
      else
        to[i] = narrow<T>(summary[i]);
  }

  S selector_;
  CacheShape cache_;
  std::uint64_t of_ = 0;  ///< the identity of the cache
  Index heads_ = 0, width_ = 0, most_blocks_ = 0, bytes_ = 0;
  detail::Memory memory_;   ///< [sequence][head][block][width]
  std::vector<Seen> seen_;  ///< [sequence]
  detail::Memory room_;     ///< of the workers of an update
  Index room_bytes_ = 0;
};

template <class S, KeyState State, class C, class E>
Summaries(const S&, const KeyValueCache<State, C>&, const Bound<E>&) -> Summaries<S>;

template <KeySelector S, Element T>
template <KeyState State, class C>
void Summaries<S, T>::check(Problems& problems, const KeyValueCache<State, C>& cache,
                            const detail::Answers& answers) const {
  const CacheShape& shape = cache.shape();
  detail::check_cache_fits(problems, shape, State, answers);
  problems.require(shape.sequences == cache_.sequences && shape.capacity == cache_.capacity &&
                       shape.kv_heads == cache_.kv_heads && shape.head_dim == cache_.head_dim,
                   "these summaries are of a cache of another shape.");
  detail::check_selector(problems, selector_, answers);
  problems.require(of_ == cache.rows().identity(), "these summaries are of another cache.");
  problems.require(!detail::needs_mass<S> || heads_ == 0 || heads_ == answers.shape().num_heads,
                   "these summaries are of ", heads_, " query heads, but the encoding is bound to ",
                   answers.shape().num_heads, ".");
  if (!answers.rotates()) return;
  if (S::rotated) {
    problems.require(!detail::follows_length(answers), S::name,
                     " summarises rotated keys, and the frequencies of this encoding follow the "
                     "length: bind it with a length.");
    problems.require(!cache.is_streaming(), S::name,
                     " summarises rotated keys, and in a streaming cache all of them move when one "
                     "is dropped: choose blocks from a ring, a contiguous or a paged cache.");
  } else {
    problems.require(State == KeyState::raw, S::name,
                     " summarises keys as they were before their rotation: it needs a cache of raw "
                     "keys (KeyState::raw).");
  }
}

template <KeySelector S, Element T>
template <KeyState State, class C, class E>
void Summaries<S, T>::update(const KeyValueCache<State, C>& cache, Index sequence,
                             const Bound<E>& bound, const SummaryOptions& options) {
  const detail::Answers& answers = bound.answers();
  const detail::Slots& slots = cache.slots("slots", sequence);
  Problems problems;
  check(problems, cache, answers);
  cache.check_rotated_by(problems, sequence, answers);
  problems.require(options.tokens >= 0, "tokens must not be negative, got ", options.tokens, ".");
  problems.require(!detail::needs_mass<S> || std::ssize(options.mass) == slots.tokens() * heads_,
                   S::name, " needs the attention mass of ", slots.tokens(), " tokens and ", heads_,
                   " query heads, got ", options.mass.size(), " numbers.");
  Seen& seen = seen_[index(sequence)];
  problems.raise_if_any("posenc::Summaries::update");

  const bool turns_anew = turns<State> && !seen.rotated_by.matches(answers);
  const detail::BlockGrid grid(slots, selector_.block);
  const bool all_anew = turns_anew || grid.first < seen.first;
  const Position same = all_anew ? 0 : std::min(seen.end, slots.edits().first_since(seen.edit));
  const Index summarised = this->summarised(grid, options.tokens, slots.tokens());
  const Position now = summarised == 0 ? 0 : grid.first * selector_.block + summarised;
  if (now == seen.end && same == now) {
    seen.first = grid.first;
    return void(seen.edit = slots.edits().last());
  }
  // Blocks of the grid before this one have the summary that they had.
  const Index first = std::max<Index>(std::min(same, now) / selector_.block - grid.first, 0),
              blocks = (summarised + selector_.block - 1) / selector_.block - first;
  const detail::BlockReader<C> reader(cache.rows(), slots, sequence, answers,
                                      detail::block_turn<turns<State>, E>(answers));
  if (turns<State>) {
    reader.check_growth(problems, grid.rank(first), grid.origin + summarised);
    problems.raise_if_any("posenc::Summaries::update");
  }
  const Index workers = std::clamp<Index>(blocks, 1, options.executor.concurrency());
  const auto room_of = [&](std::byte* memory, Index& bytes) {
    detail::Arena arena(memory);
    const detail::BlockRoom room(selector_.block, cache_.head_dim, width_,
                                 turns<State> ? answers.rotary().pairs() : 0, arena);
    bytes = arena.used();
    return room;
  };
  Index each = 0;
  room_of(nullptr, each);
  if (room_bytes_ < workers * each) {
    room_bytes_ = workers * each;
    room_ = detail::Memory(index(room_bytes_));
  }
  if (turns_anew) seen.rotated_by = detail::RotatedBy(answers);
  seen.first = grid.first;
  seen.end = 0;  // nothing is current until all is
  const Index group = heads_ / cache_.kv_heads;
  detail::run_tasks(options.executor, workers, blocks, [&](Index w) {
    Index bytes = 0;
    return [&, room = room_of(room_.data() + w * each, bytes)](Index task) {
      const Index block = first + task, from = grid.rank(block);
      const Index tokens = std::min(selector_.block, grid.origin + summarised - from);
      reader.begin(from, tokens, room);
      for (Index h = 0; h < heads_; ++h) {
        if (h % group == 0) reader.load(from, tokens, h / group, room);
        KeyBlock keys{room.keys, tokens, cache_.head_dim};
        if constexpr (detail::needs_mass<S>) {
          for (Index t = 0; t < tokens; ++t)
            room.mass[t] = options.mass[index((from + t) * heads_ + h)];
          keys.mass = {room.mass, index(tokens)};
        }
        selector_.summarize(keys, room.summary);
        store(room.summary, numbers() + offset(sequence, h, grid.first + block));
      }
    };
  });
  seen.end = now;
  seen.edit = slots.edits().last();
}

POSENC_NAMESPACE_END
