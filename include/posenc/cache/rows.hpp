// SPDX-License-Identifier: MIT
//
// The memory of a cache: rows of keys and values by sequence, slot and head, in memory of its own
// or in pages of a pool.
//
// Rows of one head lie side by side, [sequence or page][kv head][token][channel]. Memory of its own
// is a page per sequence.
#pragma once

#include <posenc/core/element.hpp>
#include <posenc/core/large_memory.hpp>
#include <posenc/core/positions.hpp>
#include <posenc/core/view.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct CacheShape {
  Index sequences = 1;
  Index kv_heads = 1;
  Index head_dim = 0;
  Index value_dim = 0;  ///< 0: head_dim
  Index capacity = 0;   ///< most tokens of a sequence that are held at a time
  int axes = 1;         ///< coordinates of a position: 3 for M-RoPE
};

/// Memory of a pool of pages, keys [pages][kv_heads][page_tokens][head_dim], values alike.
template <class T>
struct PagePool {
  T* keys = nullptr;
  T* values = nullptr;
  Index pages = 0;
  Index page_tokens = 0;
};

namespace detail {

inline std::uint64_t next_cache_identity() {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

template <Element T>
class CacheRows {
 public:
  /// A pool without memory stands for a page per sequence, which is allocated. Reports sizes that
  /// make no cache; the rows are then not to be used.
  CacheRows(Problems& problems, const CacheShape& shape, const PagePool<T>& pool)
      : shape_(shape), page_tokens_(pool.page_tokens), keys_(pool.keys), values_(pool.values) {
    constexpr Index most = Index{1} << 40;
    const auto positive = [&](const char* name, Index value) {
      problems.require(value > 0 && value <= most, name, " must be positive and at most 2^40, got ",
                       value, ".");
    };
    positive("sequences", shape_.sequences);
    positive("kv_heads", shape_.kv_heads);
    positive("head_dim", shape_.head_dim);
    positive("value_dim", shape_.value_dim);
    positive("capacity", shape_.capacity);
    problems.require(shape_.axes >= 1 && shape_.axes <= Positions::most_axes,
                     "positions have 1 to ", Positions::most_axes, " coordinates, got ",
                     shape_.axes, ".");
    if (!problems.empty()) return;
    const bool paged = keys_ != nullptr;
    const Index pages = paged ? pool.pages : shape_.sequences;
    Index heads = 0, rows = 0;
    const bool fits = multiply(pages, shape_.kv_heads, heads) &&
                      multiply(heads, page_tokens_, rows) &&
                      (paged || (allocate(rows, shape_.head_dim, own_keys_) &&
                                 allocate(rows, shape_.value_dim, own_values_)));
    if (!fits) {
      problems.add("the cache does not fit in memory.");
      return;
    }
    if (!paged) {
      keys_ = reinterpret_cast<T*>(own_keys_.data());
      values_ = reinterpret_cast<T*>(own_values_.data());
    }
    users_.assign(size(pages), paged ? 0 : 1);
    tables_.resize(size(shape_.sequences));
    for (Index s = 0; s < shape_.sequences && !paged; ++s) tables_[size(s)] = {s};
  }

  [[nodiscard]] const CacheShape& shape() const { return shape_; }
  [[nodiscard]] bool is_paged() const { return !own_keys_.data(); }
  [[nodiscard]] Index page_tokens() const { return page_tokens_; }

  /// Tells caches apart: no other cache of the program has it, or had it before, and a cache that was moved keeps it.
  [[nodiscard]] std::uint64_t identity() const { return identity_; }
  [[nodiscard]] T* key(Index sequence, Index slot, Index kv_head) const {
    return keys_ + row(sequence, slot, kv_head) * shape_.head_dim;
  }
  [[nodiscard]] T* value(Index sequence, Index slot, Index kv_head) const {
    return values_ + row(sequence, slot, kv_head) * shape_.value_dim;
  }
  /// All heads of some tokens that lie one after another in a page.
  [[nodiscard]] TensorView<T> keys(Index sequence, Index slot, Index tokens) const {
    return view(key(sequence, slot, 0), tokens, shape_.head_dim);
  }
  [[nodiscard]] TensorView<T> values(Index sequence, Index slot, Index tokens) const {
    return view(value(sequence, slot, 0), tokens, shape_.value_dim);
  }
  void copy(Index from_sequence, Index from, Index to_sequence, Index to) {
    for (Index h = 0; h < shape_.kv_heads; ++h) {
      std::copy_n(key(from_sequence, from, h), shape_.head_dim, key(to_sequence, to, h));
      std::copy_n(value(from_sequence, from, h), shape_.value_dim, value(to_sequence, to, h));
    }
  }

  // --- Pages ------------------------------------------------------------------------------------

  /// Tokens that the pages of a sequence have room for.
  [[nodiscard]] Index room(Index sequence) const {
    return std::ssize(tables_[size(sequence)]) * page_tokens_;
  }
  /// Does a slot lie in the same page in two sequences? Both have a page for it.
  [[nodiscard]] bool share(Index a, Index b, Index slot) const {
    return page(a, slot) == page(b, slot);
  }
  /// Reports slots [first, last) that another sequence has too.
  POSENC_DETAIL_COLD void check_own(Problems& problems, Index sequence, Index first,
                                    Index last) const {
    for (Index slot = first; slot < last; slot = (slot / page_tokens_ + 1) * page_tokens_)
      if (const Index p = page(sequence, slot); users_[size(p)] > 1)
        return problems.add("page ", p, " of sequence ", sequence, " is shared by ",
                            users_[size(p)],
                            " sequences and may only be read: fork into pages of its own first.");
  }
  /// Reports a page table that a sequence which holds `tokens` tokens cannot have.
  POSENC_DETAIL_COLD void check_pages(Problems& problems, Index sequence,
                                      std::span<const Index> pages, Index tokens) const {
    const Index most = (shape_.capacity - 1) / page_tokens_ + 1;
    problems.require(is_paged(), "only a paged cache has page tables.");
    problems.require(std::ssize(pages) <= most, "a capacity of ", shape_.capacity, " tokens takes ",
                     most, " pages of ", page_tokens_, ", got ", pages.size(), ".");
    std::vector<bool> seen(users_.size());
    for (const Index p : pages) {
      if (p < 0 || p >= std::ssize(users_))
        return problems.add("the pool has pages 0 to ", users_.size() - 1, ", got ", p, ".");
      if (seen[size(p)]) return problems.add("page ", p, " stands twice in the table.");
      seen[size(p)] = true;
    }
    const std::vector<Index>& table = tables_[size(sequence)];
    const Index needed = tokens == 0 ? 0 : (tokens - 1) / page_tokens_ + 1;
    problems.require(std::ssize(pages) >= needed &&
                         std::equal(table.begin(), table.begin() + std::min(needed, most),
                                    pages.begin()),
                     "sequence ", sequence, " holds ", tokens, " tokens, so its first ", needed,
                     " pages must stay: truncate or clear it first.");
  }
  void set_pages(Index sequence, std::span<const Index> pages) {
    std::vector<Index>& table = tables_[size(sequence)];
    for (const Index p : table) --users_[size(p)];
    table.assign(pages.begin(), pages.end());
    for (const Index p : table) ++users_[size(p)];
  }

 private:
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  static bool allocate(Index rows, Index width, Memory& memory) {
    Index count = 0, bytes = 0;
    if (!multiply(rows, width, count) || !multiply(count, Index{sizeof(T)}, bytes)) return false;
    memory = large_memory(size(bytes));
    return true;
  }
  [[nodiscard]] Index page(Index sequence, Index slot) const {
    return tables_[size(sequence)][size(slot / page_tokens_)];
  }
  [[nodiscard]] Index row(Index sequence, Index slot, Index kv_head) const {
    return (page(sequence, slot) * shape_.kv_heads + kv_head) * page_tokens_ + slot % page_tokens_;
  }
  [[nodiscard]] TensorView<T> view(T* first, Index tokens, Index width) const {
    return {first, tokens, shape_.kv_heads, width, width, page_tokens_ * width};
  }

  CacheShape shape_;
  std::uint64_t identity_ = next_cache_identity();
  Index page_tokens_;
  Memory own_keys_, own_values_;
  T *keys_, *values_;
  std::vector<std::vector<Index>> tables_;  ///< [sequence]: its pages
  std::vector<int> users_;                  ///< [page]: how many sequences have it
};

}  // namespace detail

POSENC_NAMESPACE_END
