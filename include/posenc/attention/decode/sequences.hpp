// SPDX-License-Identifier: MIT
//
// What a call to decode is asked: its options, its sequences, and which of the queries are theirs.
#pragma once

#include <posenc/attention/decode/plan.hpp>
#include <posenc/attention/keys/cache_keys.hpp>
#include <posenc/attention/options.hpp>
#include <posenc/executor/any_executor.hpp>
#include <posenc/select/selection.hpp>

#include <algorithm>
#include <optional>
#include <span>

POSENC_NAMESPACE_BEGIN

/// What a call to decode takes besides tensors; U is the element of q and out.
template <class U>
struct DecodeOptions {
  /// Sequences of the cache, in the order of their queries; empty: all of them.
  std::span<const Index> sequences{};
  /// Tokens [starts[i], starts[i + 1]) of q are those of the i-th sequence, [sequences + 1]; empty:
  /// all sequences have equally many.
  std::span<const Index> starts{};
  /// Positions of the queries in place of those of the last tokens that the cache holds. Masks go
  /// by the indices of these tokens all the same.
  std::optional<Positions> query_positions{};
  /// Receives the natural log-sum-exp of each row, [tokens][heads].
  std::span<U> lse{};
  RowStatistics<U> rows{};
  /// Which keys each query and head reads; null: all that the cache holds of its sequence. Rows of q are
  /// those of the call. Borrowed.
  const Selection* selection = nullptr;
  AnyExecutor executor{};
  /// At least decode_workspace(...) bytes, aligned to 64; empty: the call allocates them.
  std::span<std::byte> workspace{};
};

namespace detail {

/// A sequence of a call to decode: its queries, and the tokens that its cache holds.
template <class T>
struct CachedSequence {
  using U = arithmetic_t<T>;

  CacheKeys<T> keys;
  Index first = 0, queries = 0;  ///< rows of q
  bool has_positions = false;    ///< else queries are the last tokens of the cache
  Positions positions{};

  [[nodiscard]] KeySource<U> source() const { return keys.source(); }
  [[nodiscard]] Index rank(Index query) const { return keys.slots().tokens() - queries + query; }
  [[nodiscard]] Position index(Index query) const {
    const Index r = rank(query);
    return r >= 0 ? keys.slots().index(r) : r;
  }
  [[nodiscard]] Positions place(Index query) const {
    return has_positions ? positions.subspan(static_cast<std::size_t>(query), 1)
                         : keys.place(rank(query));
  }
  /// One more than the greatest position.
  [[nodiscard]] Position length(bool is_streaming) const {
    const Position held = is_streaming ? keys.slots().tokens() : keys.slots().length();
    return has_positions ? std::max(held, positions.length(queries)) : held;
  }
};

/// Which sequences a call has, and which of the queries are theirs.
template <class CacheT, class U>
struct DecodeBatch {
  static constexpr KeyState state = CacheT::state;
  using element = typename CacheT::element;

  const CacheT& cache;
  const DecodeOptions<U>& options;
  Index tokens = 0;  ///< of q

  [[nodiscard]] Index sequences() const {
    return options.sequences.empty() ? cache.shape().sequences : std::ssize(options.sequences);
  }
  [[nodiscard]] Index sequence(Index i) const {
    return options.sequences.empty() ? i : options.sequences[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] Index start(Index i) const {
    return options.starts.empty() ? i * (tokens / std::max<Index>(sequences(), 1))
                                  : options.starts[static_cast<std::size_t>(i)];
  }
  /// Of the call, to which a row of q belongs.
  [[nodiscard]] Index sequence_of(Index row) const {
    Index first = 0, last = sequences();  // the first one that ends behind the row
    while (first < last) {
      const Index middle = (first + last) / 2;
      if (start(middle + 1) > row)
        last = middle;
      else
        first = middle + 1;
    }
    return first;
  }
  [[nodiscard]] auto operator[](Index i) const {
    CachedSequence<element> one{CacheKeys<element>(cache, sequence(i), level_index()), start(i),
                                start(i + 1) - start(i)};
    if (options.query_positions) {
      one.has_positions = true;
      one.positions = options.query_positions->subspan(static_cast<std::size_t>(one.first),
                                                       static_cast<std::size_t>(one.queries));
    }
    return one;
  }
};

template <class CacheT>
DecodeShape decode_shape(const CacheT& cache, const Answers& answers) {
  return {.heads = answers.shape().num_heads,
          .kv_heads = cache.shape().kv_heads,
          .head_dim = cache.shape().head_dim,
          .value_dim = cache.shape().value_dim,
          .pairs = answers.rotary().pairs(),
          .value_buckets = answers.value_buckets()};
}

}  // namespace detail

POSENC_NAMESPACE_END
