// SPDX-License-Identifier: MIT
//
// Sequences, caches that hold them, and calls to decode, compared with the dense reference within
// the bound of support/oracle.hpp.
#pragma once

#include "../support/catch.hpp"
#include "../support/oracle.hpp"

#include <posenc/attention/decode.hpp>

#include <numeric>

namespace decode_test {

using namespace posenc;
using attention_test::Arguments;
using attention_test::Output;
using attention_test::Random;
using attention_test::size;
using attention_test::Tensor;

/// One sequence, in what an element T is computed in; keys and values are exact in T.
template <class T>
struct Sequence {
  using U = arithmetic_t<T>;
  Tensor<U> q, k, v;

  Sequence(Index tokens, Index heads, Index kv_heads, Index width, Index value_dim,
           std::uint64_t seed = 1, double gain = 2)
      : q(tokens, heads, width), k(tokens, kv_heads, width), v(tokens, kv_heads, value_dim) {
    q.fill(Random(seed), gain);
    fill(k, seed + 1);
    fill(v, seed + 2);
  }
  /// Attention of the last `queries` of the first `keys` tokens, -1: of all.
  [[nodiscard]] Arguments<U> last(Index queries, Index keys = -1) const {
    if (keys < 0) keys = k.view().tokens;
    return {q.view().slice(keys - queries, queries), k.view().slice(0, keys),
            v.view().slice(0, keys)};
  }

 private:
  static void fill(Tensor<U>& x, std::uint64_t seed) {
    x.fill(Random(seed));
    const TensorView<U> y = x.view();
    for (Index t = 0; t < y.tokens; ++t)
      for (Index h = 0; h < y.heads; ++h)
        for (Index c = 0; c < y.width; ++c) y(t, h, c) = widen(narrow<T>(y(t, h, c)));
  }
};

enum class Kind { contiguous, ring, paged };

/// A cache with its pool, if it has one. Memory that nobody wrote is full of NaN.
template <KeyState State, class T>
class Holder {
 public:
  static constexpr Index page_tokens = 24;

  Holder(Kind kind, const CacheShape& shape)
      : pages_((shape.capacity - 1) / page_tokens + 1),
        keys_(kind == Kind::paged ? size(all_pages(shape) * shape.head_dim) : 0, nan()),
        values_(kind == Kind::paged ? size(all_pages(shape) * shape.value_dim) : 0, nan()),
        cache_(make(kind, shape)) {
    if (kind != Kind::paged) return;
    for (Index s = 0; s < shape.sequences; ++s) {
      std::vector<Index> table;  // backwards, and those of all sequences in turn
      for (Index i = 0; i < pages_; ++i) table.push_back((pages_ - 1 - i) * shape.sequences + s);
      cache_.set_pages(s, table);
    }
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  KeyValueCache<State, T>* operator->() { return &cache_; }
  KeyValueCache<State, T>& operator*() { return cache_; }

 private:
  static T nan() { return narrow<T>(std::numeric_limits<arithmetic_t<T>>::quiet_NaN()); }
  [[nodiscard]] Index all_pages(const CacheShape& shape) const {
    return pages_ * shape.sequences * shape.kv_heads * page_tokens;
  }
  KeyValueCache<State, T> make(Kind kind, const CacheShape& shape) {
    if (kind == Kind::paged)
      return KeyValueCache<State, T>::paged(shape, {keys_.data(), values_.data(),
                                                    pages_ * shape.sequences, Index{page_tokens}});
    if (kind == Kind::ring) return KeyValueCache<State, T>::ring(shape);
    return KeyValueCache<State, T>::contiguous(shape);
  }

  Index pages_;
  std::vector<T> keys_, values_;
  KeyValueCache<State, T> cache_;
};

/// Room for one sequence or more of these widths.
template <class T>
CacheShape shape_for(const Sequence<T>& sequence, Index sequences = 1) {
  return {.sequences = sequences,
          .kv_heads = sequence.k.view().heads,
          .head_dim = sequence.k.view().width,
          .value_dim = sequence.v.view().width,
          .capacity = sequence.k.view().tokens};
}

/// Tokens [first, last) of a sequence join a cache.
template <KeyState State, class T, class BoundT>
void append(KeyValueCache<State, T>& cache, Index at, const Sequence<T>& sequence, Index first,
            Index last, const BoundT& bound, const AppendOptions& options = {}) {
  cache.append(at, sequence.k.view().slice(first, last - first),
               sequence.v.view().slice(first, last - first), bound, options);
}

/// What decode() gives for these queries.
template <KeyState State, class T, class BoundT>
Output<arithmetic_t<T>> decoded(TensorView<const arithmetic_t<T>> q,
                                const KeyValueCache<State, T>& cache, const BoundT& bound,
                                DecodeOptions<arithmetic_t<T>> options = {}) {
  using U = arithmetic_t<T>;
  TensorView<const U> v;
  v.width = cache.shape().value_dim;
  Output<U> result(Arguments<U>{q, {}, v});
  options.lse = result.lse;
  decode(q, cache, result.out.view(), bound, options);
  return result;
}

/// Error of a result over its bound; has to be at most 1.
template <class U, class BoundT>
double ratio(const Output<U>& result, const Arguments<U>& call, const BoundT& bound) {
  return attention_test::worst_ratio<U>(
      result.out, result.lse, reference_attention(call.q, call.k, call.v, bound, call.options),
      attention_test::error_bounds(call, bound));
}

}  // namespace decode_test
