// SPDX-License-Identifier: MIT
//
// State: what a mixer remembers of sequences, owned by the caller.
//
// For each sequence and head it is a matrix [key_dim][value_dim] in float, whatever the elements of the tensors are
// (and a vector [key_dim] where the mixer keeps a sum). Its size does not depend on how many tokens it has seen.
// A new state is that of an empty sequence. A copy is a copy of all numbers: keep one to go back to, or to continue
// a prompt in several ways. States are tied to a shape; calls refuse those of another.
#pragma once

#include <posenc/core/arena.hpp>
#include <posenc/core/view.hpp>
#include <posenc/mixers/mixer.hpp>

#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

class State {
 public:
  /// Empty sequences. Throws Error when they do not fit in memory.
  explicit State(const Mixer& mixer, Index sequences = 1)
      : State(mixer.shape(), sequences, mixer.recurrence().keeps_sum) {}
  /// Of anything that remembers some rows of numbers, as WKV does.
  explicit State(const Shape& shape, Index sequences = 1, bool keeps_sum = false);
  State(const State& other);
  State(State&&) noexcept = default;
  State& operator=(State other) noexcept {
    shape_ = other.shape_;
    keeps_sum_ = other.keeps_sum_;
    tokens_.swap(other.tokens_);
    memory_ = std::move(other.memory_);
    return *this;
  }
  ~State() = default;

  [[nodiscard]] Index sequences() const { return std::ssize(tokens_); }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] bool keeps_sum() const { return keeps_sum_; }
  /// Bytes of all sequences, padding of rows included.
  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(sequences() * sequence_floats()) * sizeof(float);
  }

  /// How many tokens a sequence has seen.
  [[nodiscard]] Position tokens(Index sequence = 0) const { return tokens_[checked(sequence)]; }
  void set_tokens(Index sequence, Position tokens) { tokens_[checked(sequence)] = tokens; }

  /// The matrices of a sequence, S[key channel, head, value channel].
  [[nodiscard]] TensorView<float> matrices(Index sequence = 0) {
    return {matrix(static_cast<Index>(checked(sequence)), 0),
            shape_.key_dim,
            shape_.heads,
            shape_.value_dim,
            row(),
            head_floats()};
  }
  [[nodiscard]] TensorView<const float> matrices(Index sequence = 0) const {
    return const_cast<State&>(*this).matrices(sequence);
  }
  /// The sums of a sequence, z[0, head, key channel]; without tokens where none are kept.
  [[nodiscard]] TensorView<float> sums(Index sequence = 0) {
    return {sum(static_cast<Index>(checked(sequence)), 0),
            keeps_sum_ ? 1 : 0,
            shape_.heads,
            shape_.key_dim,
            0,
            head_floats()};
  }

  /// Makes one sequence, or all of them, empty.
  void clear(Index sequence);
  void clear();
  /// Makes a sequence that of another state of the same shape, or of this one.
  void copy(const State& from, Index from_sequence, Index to_sequence);

  /// Floats from one row of a matrix to the next, and the memory of a head; for the operators.
  [[nodiscard]] Index row() const { return posenc::detail::round_up(shape_.value_dim, 16); }
  [[nodiscard]] float* matrix(Index sequence, Index head) {
    return data() + sequence * sequence_floats() + head * head_floats();
  }
  [[nodiscard]] float* sum(Index sequence, Index head) {
    return matrix(sequence, head) + shape_.key_dim * row();
  }
  [[nodiscard]] const float* matrix(Index sequence, Index head) const {
    return const_cast<State&>(*this).matrix(sequence, head);
  }
  [[nodiscard]] const float* sum(Index sequence, Index head) const {
    return const_cast<State&>(*this).sum(sequence, head);
  }

 private:
  [[nodiscard]] float* data() const { return reinterpret_cast<float*>(memory_.data()); }
  [[nodiscard]] Index head_floats() const {
    return shape_.key_dim * row() + (keeps_sum_ ? posenc::detail::round_up(shape_.key_dim, 16) : 0);
  }
  [[nodiscard]] Index sequence_floats() const { return shape_.heads * head_floats(); }
  [[nodiscard]] std::size_t checked(Index sequence) const;

  Shape shape_;
  bool keeps_sum_;
  std::vector<Position> tokens_;
  posenc::detail::Memory memory_;
};

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/state_definitions.hpp>
#endif
