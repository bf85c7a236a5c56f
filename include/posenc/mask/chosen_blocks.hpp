// SPDX-License-Identifier: MIT
//
// ChosenBlocks: groups of queries see blocks of keys that were chosen for them.
//
//   visible: block key_index / block is among those of group (query_index - first) / query_block, of the query's head
//
// What methods that look at part of a context (MoBA, InfLLM, ...; docs/selection.md) choose for a prompt, as a mask:
// choose_blocks() of select/choose_blocks.hpp makes one, and so may you, from BlockSets. Combine it with Causal, which
// hides what is behind a query in its own block:
//
//   const ChosenBlocks chosen = choose_blocks(q, k, MoBA{.block = 512, .topk = 8}, bound);
//   attention(q, k, v, out, bind(rope | Causal{} | chosen, heads));
//
// It says nothing of queries that nothing was chosen for: those before `first`, those after its tokens (which are
// decoded with a Selection, or with all keys) and those of other sequences see every block. So the choices of a ragged batch
// are one component for each sequence. Blocks behind the last one are seen by no query that it knows.
//
// Tiles without a chosen block are known exactly, for each head by itself, and are not computed. Groups of at least 64
// queries and blocks of a multiple of 64 keys make all tiles whole but those on the diagonal.
//
// A bit each for block, group and choice, and half as much again to count them. Copies share it.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/memory.hpp>
#include <posenc/mask/by_head.hpp>
#include <posenc/mask/index_set.hpp>

#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// Sets of blocks, one for each choice and group of queries.
class BlockSets {
 public:
  struct Sizes {
    Index queries = 0;      ///< tokens that something is chosen for
    Position first = 0;     ///< index of the first of them
    Index query_block = 1;  ///< queries that share a set
    Index block = 64;       ///< keys in a block; block 0 begins with the key of index 0
    Index blocks = 0;
    Index choices =
        1;  ///< of a query: one for all heads, for each key head, or for each query head
    Index sequence = 0;  ///< which of a ragged batch
  };

  BlockSets() = default;
  /// Empty sets. Throws Error for sizes that are none or do not fit in memory.
  explicit BlockSets(const Sizes& sizes) : sizes_(sizes) {
    Problems problems;
    problems.require(sizes.queries >= 0 && sizes.blocks >= 0 && sizes.first >= 0,
                     "queries, blocks and the index of the first query must not be negative, got ",
                     sizes.queries, ", ", sizes.blocks, " and ", sizes.first, ".");
    problems.require(sizes.query_block > 0 && sizes.block > 0 && sizes.choices > 0,
                     "query_block, block and choices must be positive, got ", sizes.query_block,
                     ", ", sizes.block, " and ", sizes.choices, ".");
    constexpr Index most = Index{1} << 40;
    Index rows = 0, words = 0, end = 0;
    problems.require(!problems.empty() ||
                         (sizes.first < most && sizes.queries < most && sizes.blocks < most &&
                          multiply(sizes.blocks, sizes.block, end) && end < 2 * most &&
                          multiply(groups(), sizes.choices, rows) &&
                          multiply(rows, words_of_row(), words) && words < most),
                     "sets of ", sizes.blocks, " blocks of ", sizes.block, " keys for ",
                     sizes.queries, " queries from ", sizes.first, " on do not fit in memory.");
    problems.raise_if_any("posenc::BlockSets");
    bits_.resize(static_cast<std::size_t>(words));
  }

  [[nodiscard]] const Sizes& sizes() const { return sizes_; }
  /// Groups of queries; the last one may be smaller.
  [[nodiscard]] Index groups() const {
    return sizes_.queries == 0 ? 0 : (sizes_.queries - 1) / sizes_.query_block + 1;
  }
  /// Blocks [first, last) join a set. Sets of different groups may be filled by different threads.
  void add(Index choice, Index group, Index first, Index last) {
    for (Index b = first; b < last; ++b)
      bits_[row(choice, group) + static_cast<std::size_t>(b / 64)] |= std::uint64_t{1} << (b % 64);
  }
  [[nodiscard]] bool contains(Index choice, Index group, Index block) const {
    return (word(choice, group, block / 64) >> (block % 64) & 1) != 0;
  }
  /// 64 blocks, from 64 i on.
  [[nodiscard]] std::uint64_t word(Index choice, Index group, Index i) const {
    return bits_[row(choice, group) + static_cast<std::size_t>(i)];
  }
  /// Words of a set. One bit at least is behind the last block.
  [[nodiscard]] Index words_of_row() const { return sizes_.blocks / 64 + 1; }
  [[nodiscard]] std::size_t row(Index choice, Index group) const {
    return static_cast<std::size_t>((choice * groups() + group) * words_of_row());
  }
  [[nodiscard]] const std::vector<std::uint64_t>& bits() const { return bits_; }

 private:
  Sizes sizes_{};
  std::vector<std::uint64_t> bits_;  ///< [choice][group][word]
};

namespace detail {

/// Division of whole numbers below 2^48 by a fixed one, as a product: (i + 1/2) / n is at least 1/(2 n) from any whole
/// number, which is more than roundings change it by. A quotient of a negative number is 0 or below.
class DivideBy {
 public:
  explicit DivideBy(Index n) : inverse_(1 / static_cast<double>(n)) {}
  Index operator()(Position i) const {
    return static_cast<Index>((static_cast<double>(i) + 0.5) * inverse_);
  }

 private:
  double inverse_;
};

struct ChosenBlocksData {
  BlockSets sets;
  std::vector<std::uint32_t> before;  ///< blocks of a set in earlier words

  explicit ChosenBlocksData(BlockSets&& from) : sets(std::move(from)) {
    before.reserve(sets.bits().size());
    const auto words = static_cast<std::size_t>(sets.words_of_row());
    std::uint32_t count = 0;
    for (std::size_t i = 0; i < sets.bits().size(); ++i) {
      if (i % words == 0) count = 0;
      before.push_back(count);
      count += static_cast<std::uint32_t>(std::popcount(sets.bits()[i]));
    }
  }
};

class ChosenBlocksMask {
 public:
  ChosenBlocksMask(const Shared<ChosenBlocksData>& data, Index heads)
      : data_(data), bits_(data_->sets.bits().data()), before_(data_->before.data()),
        sizes_(data_->sets.sizes()), groups_(data_->sets.groups()),
        words_(data_->sets.words_of_row()), by_query_block_(sizes_.query_block),
        by_block_(sizes_.block), by_heads_(heads / sizes_.choices) {}

  [[nodiscard]] bool visible(const Score& at) const {
    const Position query = at.query_index - sizes_.first;
    if (query < 0 || query >= sizes_.queries || at.sequence != sizes_.sequence) return true;
    const Position end = sizes_.blocks * sizes_.block;
    // Bits behind the last block are 0.
    const Index block =
        at.key_index < 0 || at.key_index >= end ? sizes_.blocks : by_block_(at.key_index);
    const std::size_t word =
        row(by_heads_(at.head), by_query_block_(query)) + static_cast<std::size_t>(block) / 64;
    return (bits_[word] >> (block & 63) & 1) != 0;
  }

  [[nodiscard]] TileClass classify(const Tile& tile) const {
    const Position first = tile.query_index.first - sizes_.first,
                   last = tile.query_index.last - sizes_.first;
    const bool has_others = first < 0 || last >= sizes_.queries;
    if (tile.sequence != sizes_.sequence || last < 0 || first >= sizes_.queries)
      return TileClass::full;
    const Index first_group = by_query_block_(std::max<Position>(first, 0)),
                last_group = by_query_block_(std::min<Position>(last, sizes_.queries - 1));
    const Position end = sizes_.blocks * sizes_.block;
    const Interval keys{std::max<Position>(tile.key_index.first, 0),
                        std::min<Position>(tile.key_index.last, end - 1)};
    const bool is_within = tile.key_index.first >= 0 && tile.key_index.last < end;
    if (keys.first > keys.last) return has_others ? TileClass::partial : TileClass::none;
    const Index first_block = by_block_(keys.first), last_block = by_block_(keys.last);
    bool some = has_others, all = is_within;
    for (Index choice = by_heads_(tile.heads.first); choice <= by_heads_(tile.heads.last); ++choice)
      for (Index group = first_group; group <= last_group; ++group) {
        const std::size_t set = row(choice, group);
        const Position seen = count_below(bits_ + set, before_ + set, last_block + 1) -
                              count_below(bits_ + set, before_ + set, first_block);
        some = some || seen != 0;
        all = all && seen == last_block - first_block + 1;
        if (some && !all) return TileClass::partial;
      }
    return some ? TileClass::full : TileClass::none;
  }

 private:
  /// The first word of a set.
  [[nodiscard]] std::size_t row(Index choice, Index group) const {
    return static_cast<std::size_t>((choice * groups_ + group) * words_);
  }

  Shared<ChosenBlocksData> data_;
  const std::uint64_t* bits_;
  const std::uint32_t* before_;
  BlockSets::Sizes sizes_;
  Index groups_, words_;
  DivideBy by_query_block_, by_block_, by_heads_;
};

}  // namespace detail

class ChosenBlocks {
 public:
  /// Of no query: everything is seen.
  ChosenBlocks() : ChosenBlocks(BlockSets()) {}
  explicit ChosenBlocks(BlockSets sets)
      : data_(detail::Shared<detail::ChosenBlocksData>::make(std::move(sets))) {}

  /// Which blocks are seen, to be looked at.
  [[nodiscard]] const BlockSets& sets() const { return data_->sets; }

  [[nodiscard]] detail::ChosenBlocksMask prepare(const HeadShape& shape) const {
    return {data_, shape.num_heads};
  }
  void check(Problems& problems, const HeadShape& shape) const {
    const Index choices = sets().sizes().choices;
    problems.require(choices == 1 || choices == shape.num_kv_heads || choices == shape.num_heads,
                     "ChosenBlocks: a query has one choice for all heads, one for each of the ",
                     shape.num_kv_heads, " key heads or one for each of the ", shape.num_heads,
                     " query heads, got ", choices, ".");
  }

 private:
  detail::Shared<detail::ChosenBlocksData> data_;
};

POSENC_NAMESPACE_END
