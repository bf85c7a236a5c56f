// SPDX-License-Identifier: MIT
//
// Byte-pair encoding: the merges of a vocabulary, and a word merged by them.
//
// A word starts as one token for each byte. Of all neighbours that a merge joins, those of the lowest
// rank are joined, the leftmost first, until no merge applies. Source: Sennrich et al., "Neural Machine
// Translation of Rare Words with Subword Units" (2016). Neighbours wait in a priority queue and tokens
// are a linked list, so a word of n bytes takes O(n log n).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <queue>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace evaluate {

/// What two tokens become, and how early.
struct Merge {
  std::uint32_t rank = 0;
  std::int32_t token = 0;
};

/// The merges of a vocabulary by their two tokens.
class Merges {
 public:
  /// Adds one; of two for the same pair the first stays. Ids are not negative.
  void add(std::int32_t left, std::int32_t right, Merge merge) {
    merges_.try_emplace(key(left, right), merge);
  }

  /// The merge of two neighbours, or null.
  [[nodiscard]] const Merge* find(std::int32_t left, std::int32_t right) const {
    const auto found = merges_.find(key(left, right));
    return found == merges_.end() ? nullptr : &found->second;
  }

 private:
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32U |
           static_cast<std::uint32_t>(right);
  }

  std::unordered_map<std::uint64_t, Merge> merges_;
};

/// Merges words. It keeps its memory from word to word; each thread has its own.
class Merger {
 public:
  explicit Merger(const Merges& merges) : merges_(merges) {}

  /// Appends to `out` what the tokens of a word become.
  void merge(std::span<const std::int32_t> word, std::vector<std::int32_t>& out) {
    nodes_.clear();
    for (std::size_t i = 0; i < word.size(); ++i)
      nodes_.push_back(
          {word[i], i == 0 ? none : i - 1, i + 1 == word.size() ? none : i + 1, no_rank});
    for (std::size_t i = 0; i < word.size(); ++i) look_at(i);
    while (!queue_.empty()) {
      const auto [rank, at] = queue_.top();
      queue_.pop();
      // The pair may be gone by now: joined, or with another neighbour.
      if (nodes_[at].rank == rank) join(at);
    }
    for (std::size_t i = word.empty() ? none : 0; i != none; i = nodes_[i].next)
      out.push_back(nodes_[i].token);
  }

 private:
  static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
  static constexpr std::uint32_t no_rank = std::numeric_limits<std::uint32_t>::max();

  struct Node {
    std::int32_t token;
    std::size_t previous, next;
    std::uint32_t rank;  // of the merge with the next
  };

  /// Finds the merge of a node with its next, and queues it.
  void look_at(std::size_t at) {
    Node& node = nodes_[at];
    const Merge* merge =
        node.next == none ? nullptr : merges_.find(node.token, nodes_[node.next].token);
    node.rank = merge ? merge->rank : no_rank;
    if (merge) queue_.emplace(merge->rank, at);
  }

  /// Joins a node with its next, which leaves the list.
  void join(std::size_t at) {
    Node& node = nodes_[at];
    Node& gone = nodes_[node.next];
    node.token = merges_.find(node.token, gone.token)->token;
    gone.rank = no_rank;
    node.next = gone.next;
    if (node.next != none) nodes_[node.next].previous = at;
    look_at(at);
    if (node.previous != none) look_at(node.previous);
  }

  using Waiting =
      std::pair<std::uint32_t,
                std::size_t>;  // rank and node: the lowest rank first, then the leftmost

  const Merges& merges_;
  std::vector<Node> nodes_;
  std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>> queue_;
};

}  // namespace evaluate
