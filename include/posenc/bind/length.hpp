// SPDX-License-Identifier: MIT
//
// The length rule: an encoding whose frequencies depend on the length is evaluated at the length of
// the call, one more than its greatest position, unless it was bound with a length.
#pragma once

#include <posenc/bind/answers.hpp>

#include <cstddef>
#include <optional>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Does a call have to say how long it is?
inline bool follows_length(const Answers& answers) {
  return answers.facts().depends_on_length && answers.options().length == 0;
}

/// The frequencies that hold at a length: those of the binding, or their own.
class RotaryAtLength {
 public:
  /// length() is asked where it matters; a length of 0 or less stands for the one that was bound.
  template <class Length>
  RotaryAtLength(const Answers& answers, const Length& length) : bound_(&answers.rotary()) {
    if (follows_length(answers)) set(answers, length());
  }
  [[nodiscard]] const Rotary& operator*() const { return own_ ? *own_ : *bound_; }

 private:
  POSENC_DETAIL_COLD void set(const Answers& answers, Position length) {
    if (length > 0) own_.emplace(answers.rotary_at(length));
  }

  const Rotary* bound_;
  std::optional<Rotary> own_;
};

/// The same for the sequences of a batch.
class RotaryAtLengths {
 public:
  /// length(i) is asked where it matters, as above.
  template <class Length>
  RotaryAtLengths(const Answers& answers, Index sequences, const Length& length)
      : bound_(&answers.rotary()) {
    if (!follows_length(answers)) return;
    make(sequences);
    for (Index i = 0; i < sequences; ++i) set(answers, i, length(i));
  }
  [[nodiscard]] const Rotary& operator[](Index sequence) const {
    if (own_.empty()) return *bound_;
    const Rotary& own = own_[static_cast<std::size_t>(sequence)];
    return own.layout ? own : *bound_;  // frequencies that follow a length are those of a layout
  }

 private:
  POSENC_DETAIL_COLD void make(Index sequences) {
    own_ = std::vector<Rotary>(static_cast<std::size_t>(sequences));
  }
  POSENC_DETAIL_COLD void set(const Answers& answers, Index sequence, Position length) {
    if (length > 0) own_[static_cast<std::size_t>(sequence)] = answers.rotary_at(length);
  }

  const Rotary* bound_;
  std::vector<Rotary> own_;
};

}  // namespace detail

POSENC_NAMESPACE_END
