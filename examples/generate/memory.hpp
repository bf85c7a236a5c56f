// SPDX-License-Identifier: MIT
//
// What attends while a text grows: a cache per layer and the encoding that reads it.
//
//   begin(length)                         before tokens that make the sequence so long
//   attend(layer, q, k, v, out)           appends their keys and values, then attends
#pragma once

#include "transformer.hpp"

#include <posenc/posenc.hpp>

#include <string>
#include <vector>

namespace generate {

using posenc::KeyState, posenc::Position, posenc::TensorView;
using Tokens = TensorView<float>;

template <KeyState State>
std::vector<posenc::KeyValueCache<State>> caches_for(const ModelShape& shape, Index capacity) {
  std::vector<posenc::KeyValueCache<State>> caches;
  for (Index l = 0; l < shape.layers; ++l)
    caches.push_back(posenc::KeyValueCache<State>::contiguous(
        {.kv_heads = shape.kv_heads, .head_dim = shape.head_dim, .capacity = capacity}));
  return caches;
}

/// One encoding from the first token to the last. Where its frequencies follow the length, decode
/// evaluates it at that of every step, which is what raw keys are for.
template <KeyState State, class E>
class Memory {
 public:
  Memory(const ModelShape& shape, Index capacity, posenc::Bound<E> bound)
      : bound_(std::move(bound)), caches_(caches_for<State>(shape, capacity)) {}

  void begin(Position /*length*/) {}
  void attend(std::size_t layer, Tokens q, Tokens k, Tokens v, Tokens out) {
    caches_[layer].append(0, k, v, bound_);
    decode(q, caches_[layer], out, bound_);
  }
  [[nodiscard]] std::string what_happened() const { return {}; }

 private:
  posenc::Bound<E> bound_;
  std::vector<posenc::KeyValueCache<State>> caches_;
};

/// Keys that are stored rotated, by one encoding up to the trained length and by another beyond it:
/// at the switch those that are there are rotated from the one to the other.
template <class Short, class Long>
class SwitchingMemory {
 public:
  SwitchingMemory(const ModelShape& shape, Index capacity, Position trained,
                  posenc::Bound<Short> up_to, posenc::Bound<Long> beyond)
      : trained_(trained), up_to_(std::move(up_to)), beyond_(std::move(beyond)),
        caches_(caches_for<KeyState::rotated>(shape, capacity)) {}

  void begin(Position length) {
    if (is_beyond_ || length <= trained_) return;
    is_beyond_ = true;
    rebased_ = caches_.front().tokens(0);
    for (auto& cache : caches_) rebase(cache, 0, up_to_, beyond_);
  }
  void attend(std::size_t layer, Tokens q, Tokens k, Tokens v, Tokens out) {
    const auto with = [&](const auto& bound) {
      caches_[layer].append(0, k, v, bound);
      decode(q, caches_[layer], out, bound);
    };
    is_beyond_ ? with(beyond_) : with(up_to_);
  }
  [[nodiscard]] std::string what_happened() const {
    if (!is_beyond_) return {};
    return "the " + std::to_string(rebased_) +
           " keys of each layer were rebased when the trained length was passed";
  }

 private:
  Position trained_;
  posenc::Bound<Short> up_to_;
  posenc::Bound<Long> beyond_;
  std::vector<posenc::KeyValueCache<KeyState::rotated>> caches_;
  bool is_beyond_ = false;
  Index rebased_ = 0;
};

/// The same tokens at once, without a cache. The prompt is one call. Where frequencies follow the
/// length, each token after it is a call of its own, at the length that the sequence had when it
/// was generated: what upper layers keep of a token was computed then.
template <class E>
class FromScratch {
 public:
  FromScratch(posenc::Bound<E> bound, Index prompt) : bound_(std::move(bound)), prompt_(prompt) {}

  void attend(std::size_t /*layer*/, Tokens q, Tokens k, Tokens v, Tokens out) const {
    const auto call = [&](Index first, Index last) {
      const auto part = [](Tokens x, Index from, Index to) {
        return Tokens(x.row(from, 0), to - from, x.heads, x.width);
      };
      attention(part(q, first, last), part(k, 0, last), part(v, 0, last), part(out, first, last),
                bound_);
    };
    if constexpr (!posenc::Bound<E>::depends_on_length) return call(0, q.tokens);
    call(0, prompt_);
    for (Index t = prompt_; t < q.tokens; ++t) call(t, t + 1);
  }

 private:
  posenc::Bound<E> bound_;
  Index prompt_;
};

}  // namespace generate
