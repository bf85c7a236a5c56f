// SPDX-License-Identifier: MIT
//
// GateSums: the running sums of per-token numbers of each head, which a bias is a difference of.
//
//   S(n) = g(0) + ... + g(n)      g(t) = log of the forget gate of token t, at most 0
//
// The numbers are data of a model's layer: they are computed from tokens as keys and values are, and are
// appended beside them. Sums of a long sequence grow large where their differences stay small, so they are
// kept in double, and what each addition rounds away is carried to the next: S(n) is within one rounding of
// the exact sum, however long the sequence (each truncate() adds one).
//
// Drafts that branch are no sequence of tokens: each path has sums of its own.
//
//   GateSums sums(heads, capacity, sequences);
//   sums.append(sequence, log_gates);        // [tokens][heads]; before the call that asks about these tokens
//
// Copies share their memory: what is appended to one is seen by all, so an encoding that is bound to it stays
// bound. No call may read it meanwhile. Tokens go by their place in the sequence (Score::query_index).
#pragma once

#include <posenc/core/memory.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <algorithm>
#include <cmath>
#include <new>
#include <span>

POSENC_NAMESPACE_BEGIN

/// log sigmoid(x) = -log(1 + exp(-x)): the log of a gate whose logit is x.
[[nodiscard]] inline double log_sigmoid(double x) {
  return std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x)));
}

class GateSums {
 public:
  /// No sums; nothing can be appended.
  GateSums() = default;
  /// Room for `capacity` tokens of each sequence. Throws Error for sizes that are not positive or do not fit.
  GateSums(Index heads, Position capacity, Index sequences = 1)
      : heads_(heads), capacity_(capacity), sequences_(sequences) {
    Problems problems;
    problems.require(heads > 0 && capacity > 0 && sequences > 0,
                     "heads, capacity and sequences must be positive, got ", heads, ", ", capacity,
                     " and ", sequences, ".");
    Index rows = 0, sums = 0, bytes = 0;
    const bool fits = problems.empty() && capacity <= most_tokens &&
                      multiply(heads, sequences, rows) && rows <= most_tokens &&
                      multiply(rows, capacity + padding + 2, sums) &&
                      multiply(sums + sequences, sizeof(double), bytes);
    problems.require(fits || !problems.empty(), "sums of ", heads, " heads, ", capacity,
                     " tokens and ", sequences, " sequences do not fit in memory.");
    problems.raise_if_any("posenc::GateSums");
    shared_ = detail::Shared<detail::Memory>::make(static_cast<std::size_t>(bytes));
    std::fill_n(row(0, 0), sums + sequences, 0.0);
  }

  [[nodiscard]] Index heads() const { return heads_; }
  [[nodiscard]] Position capacity() const { return capacity_; }
  [[nodiscard]] Index sequences() const { return sequences_; }
  /// Tokens whose gates were appended; none of a sequence that there is not.
  [[nodiscard]] Position tokens(Index sequence) const {
    return sequence >= 0 && sequence < sequences_ ? static_cast<Position>(*count(sequence)) : 0;
  }

  /// S of a head, by token. Readable up to padding() tokens beyond the capacity.
  [[nodiscard]] const double* of(Index sequence, Index head) const { return row(sequence, head); }
  static constexpr Index padding = 64;

  /// Appends the numbers of some tokens, [tokens][heads]. Throws Error where one is positive or not finite, or
  /// where there is no room, and then appends none.
  void append(Index sequence, std::span<const float> log_gates) { add(sequence, log_gates); }
  void append(Index sequence, std::span<const double> log_gates) { add(sequence, log_gates); }

  /// Drops the tokens from this one on, such as guesses that were wrong.
  void truncate(Index sequence, Position end) {
    check(sequence, [&](Problems& problems) {
      problems.require(end >= 0 && end <= tokens(sequence), "sequence ", sequence, " has ",
                       tokens(sequence), " tokens, so it cannot end at ", end, ".");
    });
    if (end == tokens(sequence)) return;  // what evicted tokens have left behind stays
    *count(sequence) = static_cast<double>(end);
    for (Index head = 0; head < heads_; ++head) {
      rest(sequence, head)[0] = end == 0 ? 0.0 : row(sequence, head)[end - 1];
      rest(sequence, head)[1] = 0;
    }
  }
  void clear(Index sequence) { truncate(sequence, 0); }
  /// Drops the tokens [first, last), which leave their gates behind: what is older stays as far from all that is
  /// newer. Later tokens move up, as in a cache.
  void evict(Index sequence, Position first, Position last) {
    check(sequence, [&](Problems& problems) {
      problems.require(first >= 0 && first <= last && last <= tokens(sequence), "sequence ",
                       sequence, " has ", tokens(sequence), " tokens, so ", first, " to ", last,
                       " cannot be dropped.");
    });
    for (Index head = 0; head < heads_; ++head) {
      double* const sums = row(sequence, head);
      std::copy(sums + last, sums + tokens(sequence), sums + first);
    }
    *count(sequence) -= static_cast<double>(last - first);
  }
  /// Makes `to` a copy of the first tokens of `from`, up to `end`.
  void fork(Index from, Index to, Position end) {
    check(to, [](Problems&) {});
    check(from, [&](Problems& problems) {
      problems.require(end >= 0 && end <= tokens(from), "sequence ", from, " has ", tokens(from),
                       " tokens, so it cannot be copied up to ", end, ".");
    });
    if (from != to) {
      std::copy_n(row(from, 0), heads_ * stride(), row(to, 0));
      *count(to) = *count(from);
    }
    if (end < tokens(to)) truncate(to, end);
  }

 private:
  static constexpr Index most_tokens = Index{1} << 40;

  template <class F>
  void check(Index sequence, const F& further) const {
    Problems problems;
    problems.require(sequence >= 0 && sequence < sequences_, "there are sums of ", sequences_,
                     " sequences, got ", sequence, ".");
    if (problems.empty()) further(problems);
    problems.raise_if_any("posenc::GateSums");
  }

  template <class T>
  void add(Index sequence, std::span<const T> log_gates) {
    const Position first = tokens(sequence),
                   some = heads_ == 0 ? 0 : std::ssize(log_gates) / heads_;
    check(sequence, [&](Problems& problems) {
      problems.require(std::ssize(log_gates) == some * heads_, "got ", log_gates.size(),
                       " gates, which are no whole tokens of ", heads_, " heads.");
      problems.require(some <= capacity_ - first, "sequence ", sequence, " has ", first, " of ",
                       capacity_, " tokens, so there is no room for ", some, " more.");
      for (const T gate : log_gates)
        if (!(gate <= 0) || !std::isfinite(gate))
          return problems.add("the log of a gate must be finite and at most 0, got ", gate, ".");
    });
    for (Index head = 0; head < heads_; ++head) {
      double* const sums = row(sequence, head);
      double sum = rest(sequence, head)[0], carry = rest(sequence, head)[1];
      for (Position t = 0; t < some; ++t) {
        // Neumaier's sum: what adding rounds away is exact, and goes into the next addend.
        const double x =
            static_cast<double>(log_gates[static_cast<std::size_t>(t * heads_ + head)]) + carry;
        const double next = sum + x;
        carry = std::abs(sum) >= std::abs(x) ? (sum - next) + x : (x - next) + sum;
        sums[first + t] = sum = next;
      }
      rest(sequence, head)[0] = sum;
      rest(sequence, head)[1] = carry;
    }
    *count(sequence) = static_cast<double>(first + some);
  }

  // [sequence][head][capacity and padding, then the sum and the rest that the next token adds to], and then
  // [sequence], tokens
  [[nodiscard]] Index stride() const { return capacity_ + padding + 2; }
  [[nodiscard]] double* row(Index sequence, Index head) const {
    return reinterpret_cast<double*>(shared_->data()) + (sequence * heads_ + head) * stride();
  }
  [[nodiscard]] double* rest(Index sequence, Index head) const {
    return row(sequence, head) + capacity_ + padding;
  }
  [[nodiscard]] double* count(Index sequence) const { return row(sequences_, 0) + sequence; }

  detail::Shared<detail::Memory> shared_;
  Index heads_ = 0;
  Position capacity_ = 0;
  Index sequences_ = 0;
};

POSENC_NAMESPACE_END
