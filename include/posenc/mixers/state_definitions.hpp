// SPDX-License-Identifier: MIT
//
// Memory of states; see state.hpp.
#pragma once

#include <posenc/mixers/state.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace mixers {

POSENC_DETAIL_MIXERS State::State(const Shape& shape, Index sequences, bool keeps_sum)
    : shape_(shape), keeps_sum_(keeps_sum) {
  // The sum of all products below fits when this one does, with its rows of 16 and the sums beside them.
  Index rows = 0, floats = 0, bytes = 0;
  const bool fits = sequences >= 0 && multiply(shape_.heads, shape_.key_dim, rows) &&
                    multiply(rows, std::min<Index>(shape_.value_dim, 1L << 40) + 32, floats) &&
                    shape_.value_dim < 1L << 40 && multiply(floats, 8, bytes) &&
                    multiply(bytes, std::max<Index>(sequences, 1), bytes);
  Problems problems;
  problems.require(
      fits, "the number of sequences must not be negative and states must fit in memory, got ",
      sequences, " sequences of ", shape_.heads, " heads of [", shape_.key_dim, ", ",
      shape_.value_dim, "].");
  problems.raise_if_any("posenc::mixers::State");
  tokens_.assign(static_cast<std::size_t>(sequences), 0);
  memory_ = posenc::detail::Memory(this->bytes());
  clear();
}

POSENC_DETAIL_MIXERS State::State(const State& other)
    : shape_(other.shape_), keeps_sum_(other.keeps_sum_), tokens_(other.tokens_),
      memory_(other.bytes()) {
  std::copy_n(other.data(), sequences() * sequence_floats(), data());
}

POSENC_DETAIL_MIXERS void State::clear(Index sequence) {
  tokens_[checked(sequence)] = 0;
  std::fill_n(matrix(sequence, 0), sequence_floats(), 0.0F);
}
POSENC_DETAIL_MIXERS void State::clear() {
  for (Index i = 0; i < sequences(); ++i) clear(i);
}

POSENC_DETAIL_MIXERS void State::copy(const State& from, Index from_sequence, Index to_sequence) {
  Problems problems;
  problems.require(from.shape_ == shape_ && from.keeps_sum_ == keeps_sum_, "a state of ",
                   from.shape_.heads, " heads of [", from.shape_.key_dim, ", ",
                   from.shape_.value_dim, "] cannot become one of ", shape_.heads, " heads of [",
                   shape_.key_dim, ", ", shape_.value_dim, "].");
  problems.raise_if_any("posenc::mixers::State::copy");
  const float* const source =
      from.data() + static_cast<Index>(from.checked(from_sequence)) * sequence_floats();
  tokens_[checked(to_sequence)] = from.tokens(from_sequence);
  if (source != matrix(to_sequence, 0))
    std::copy_n(source, sequence_floats(), matrix(to_sequence, 0));
}

POSENC_DETAIL_MIXERS std::size_t State::checked(Index sequence) const {
  if (sequence < 0 || sequence >= sequences()) {
    Problems problems;
    problems.add("sequence ", sequence, " is not among the ", sequences(), " of the state.");
    problems.raise_if_any("posenc::mixers::State");
  }
  return static_cast<std::size_t>(sequence);
}

}  // namespace mixers

POSENC_NAMESPACE_END
