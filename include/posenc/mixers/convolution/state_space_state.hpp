// SPDX-License-Identifier: MIT
//
// A state space whose parameters have been checked, and its state; see state_space.hpp for what they are used by.
#pragma once

#include <posenc/mixers/convolution/filters.hpp>
#include <posenc/mixers/convolution/modes.hpp>

#include <complex>
#include <span>
#include <string>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

class StateSpace {
 public:
  /// Throws Error with every sentence when parameters are wrong.
  template <StateSpaceRule M>
  explicit StateSpace(const M& of) : name_(M::name) {
    Problems problems;
    of.check(problems);
    problems.raise_if_any("posenc::mixers::" + std::string(name_));
    modes_ = of.modes();
  }

  [[nodiscard]] std::string_view name() const { return name_; }
  [[nodiscard]] Index channels() const { return modes_.channels; }
  [[nodiscard]] Index pairs() const { return modes_.pairs; }
  [[nodiscard]] const Modes& modes() const { return modes_; }

 private:
  std::string_view name_;
  Modes modes_;
};

/// x of sequences, for one of each conjugate pair of each channel: copy it, keep it, clear it. S4's is x of the paper;
/// S4D's is x / B_bar, into which inputs go as they are.
class StateSpaceState {
 public:
  /// Of empty sequences. Throws Error when they are negative or do not fit in memory.
  explicit StateSpaceState(const StateSpace& of, Index sequences = 1);

  [[nodiscard]] Index sequences() const { return sequences_; }
  [[nodiscard]] Index channels() const { return channels_; }
  [[nodiscard]] Index pairs() const { return pairs_; }
  [[nodiscard]] std::size_t bytes() const { return numbers_.size() * sizeof(double); }

  [[nodiscard]] std::complex<double> get(Index sequence, Index channel, Index pair) const {
    const auto at = place(sequence, channel, pair);
    return {numbers_[at], numbers_[at + 16]};
  }
  void set(Index sequence, Index channel, Index pair, std::complex<double> x) {
    const auto at = place(sequence, channel, pair);
    numbers_[at] = x.real(), numbers_[at + 16] = x.imag();
  }
  void clear() { numbers_.assign(numbers_.size(), 0); }

  /// For the operators: the rows of 16 channels.
  [[nodiscard]] std::span<double> group(Index sequence, Index number) {
    const auto n = static_cast<std::size_t>(pairs_ * 32);
    return std::span(numbers_).subspan(
        static_cast<std::size_t>(sequence * ((channels_ + 15) / 16) + number) * n, n);
  }

 private:
  /// Throws Error for a place that the state does not have.
  [[nodiscard]] std::size_t place(Index sequence, Index channel, Index pair) const;

  Index sequences_, channels_, pairs_;
  std::vector<double> numbers_;
};

}  // namespace mixers

POSENC_NAMESPACE_END
