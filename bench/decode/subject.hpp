// SPDX-License-Identifier: MIT
//
// One call of decode as it is measured: a full cache, one query token, a workspace made before; and
// the limit beside it, reading the same keys and values from the same memory.
#pragma once

#include "support/attention.hpp"
#include "support/limits.hpp"

#include <posenc/posenc.hpp>

namespace bench {

using posenc::KeyState;

struct DecodeSize {
  Index keys, heads, kv_heads, width = 128;

  /// Of keys and values.
  [[nodiscard]] double bytes(std::size_t element) const {
    return 2.0 * static_cast<double>(keys * kv_heads * width) * static_cast<double>(element);
  }
};

/// Appends normal random keys and values, so many tokens after those that are there.
template <class Cache, class BoundT>
void fill(Cache& cache, Index tokens, const BoundT& bound) {
  const posenc::CacheShape& shape = cache.shape();
  constexpr Index most = 1024;
  const NormalTensor k(most, shape.kv_heads, shape.head_dim, 2),
      v(most, shape.kv_heads, shape.value_dim, 3);
  for (Index t = 0; t < tokens; t += most) {
    posenc::TensorView<float> some_k = k.view, some_v = v.view;
    some_k.tokens = some_v.tokens = std::min(most, tokens - t);
    cache.append(0, some_k, some_v, bound);
  }
}

template <KeyState State, class T, class BoundT>
class DecodePass {
 public:
  using Cache = posenc::KeyValueCache<State, T>;

  DecodePass(const DecodeSize& size, Cache cache, const BoundT& bound, Team& team)
      : size_(size), team_(team), bound_(bound), cache_(std::move(cache)),
        q_(1, size.heads, size.width, 1), out_(1, size.heads, size.width, 4),
        workspace_(workspace_bytes() / Index{sizeof(float)} + 1) {
    fill(cache_, size.keys, bound_);
    options_.workspace =
        std::as_writable_bytes(std::span(workspace_.floats(), workspace_.bytes() / sizeof(float)));
    options_.executor = team.executor();
  }
  DecodePass(const DecodeSize& size, const BoundT& bound, Team& team)
      : DecodePass(size,
                   Cache::contiguous(
                       {.kv_heads = size.kv_heads, .head_dim = size.width, .capacity = size.keys}),
                   bound, team) {}
  DecodePass(const DecodePass&) = delete;
  DecodePass& operator=(const DecodePass&) = delete;

  void operator()() const { decode(q_.view, cache_, out_.view, bound_, options_); }

  /// Reads keys and values of the last tokens of each head, by default of all.
  [[nodiscard]] auto limit(Index last = 0) const {
    const Index held = cache_.tokens(0), tokens = last == 0 ? held : last;
    const auto blocks = [&](const T* first) {
      // Where all rows are read they are one block, of which each thread has an equal part.
      const Index heads = size_.kv_heads,
                  row = size_.width * Index{sizeof(T)} / Index{sizeof(float)};
      float* const x = reinterpret_cast<float*>(const_cast<T*>(first));
      return tokens == held ? Blocks(x, heads * held * row)
                            : Blocks(x, heads, tokens * row, held * row);
    };
    return sum_limit(blocks(cache_.rows().key(0, held - tokens, 0)),
                     blocks(cache_.rows().value(0, held - tokens, 0)), team_);
  }

  [[nodiscard]] const posenc::TensorView<float>& q() const { return q_.view; }
  [[nodiscard]] const posenc::TensorView<float>& out() const { return out_.view; }

 private:
  [[nodiscard]] Index workspace_bytes() const {
    return static_cast<Index>(
        posenc::decode_workspace(bound_, cache_, 1, posenc::AnyExecutor(team_.executor())));
  }

  DecodeSize size_;
  Team& team_;
  BoundT bound_;
  Cache cache_;
  NormalTensor q_, out_;
  Memory<float> workspace_;
  posenc::DecodeOptions<float> options_;
};

}  // namespace bench
