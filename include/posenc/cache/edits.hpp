// SPDX-License-Identifier: MIT
//
// Edits: from which token on a sequence has changed since somebody last looked.
//
// Who keeps something beside a cache that follows from its keys (select/summaries.hpp) must know what to compute anew
// after truncate, evict, keep_path, fork, shift or rebase. Every such edit has a number, one more than the last, and
// the index from which on tokens may be others than before. A look remembers the number of the last edit; what has
// changed since is the least index of the edits that followed.
//
//   const Index same = std::min(end_then, edits.first_since(last_then));   indices below are what they were
//
// Tokens that are appended behind the last one change nothing that anybody saw, and a ring that overwrites its oldest
// leaves all others as they are, so neither is an edit.
//
// Of two edits the earlier one matters only where its index is lower, so those that are kept have rising indices.
// There is room for `most` of them. When it is used up two neighbours become one, of the later number and the lower
// index, so who has not looked for long may be told a lower index than needed, never a higher one: as if he had not
// looked for somewhat longer.
#pragma once

#include <posenc/core/types.hpp>

#include <array>
#include <cstdint>
#include <limits>

POSENC_NAMESPACE_BEGIN

namespace detail {

class Edits {
 public:
  using Number = std::uint64_t;
  static constexpr Index none = std::numeric_limits<Index>::max();

  /// Of the last edit; 0 when there was none.
  [[nodiscard]] Number last() const { return last_; }
  /// The least index that edits after this number have changed; `none` when there were none.
  [[nodiscard]] Index first_since(Number number) const {
    for (std::size_t i = 0; i < count_; ++i)
      if (kept_[i].number > number) return kept_[i].first;
    return none;
  }
  /// Tokens from this index on may have changed.
  void add(Index first) {
    ++last_;
    while (count_ > 0 && kept_[count_ - 1].first >= first) --count_;
    if (count_ == most) merge();
    kept_[count_++] = {last_, first};
  }

 private:
  static constexpr std::size_t most = 32;
  struct Edit {
    Number number = 0;
    Index first = 0;
  };

  /// Who looked between two neighbours that become one is told what a look before both of them would be told. Of all pairs
  /// it is the one for which that is the least further back, as a share of how long ago it was.
  void merge() {
    std::size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i + 1 < most; ++i) {
      const Number before = i == 0 ? 0 : kept_[i - 1].number, after = kept_[i + 1].number;
      const double further =
          static_cast<double>(after - before) / static_cast<double>(last_ - after);
      if (further < least) best = i, least = further;
    }
    kept_[best + 1].first = kept_[best].first;
    for (std::size_t i = best; i + 1 < most; ++i) kept_[i] = kept_[i + 1];
    --count_;
  }

  Number last_ = 0;
  std::size_t count_ = 0;
  std::array<Edit, most> kept_{};  ///< numbers and indices rise
};

}  // namespace detail

POSENC_NAMESPACE_END
