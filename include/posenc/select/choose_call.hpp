// SPDX-License-Identifier: MIT
//
// A call of choose_blocks, and the summaries of all blocks of its keys.
#pragma once

#include <posenc/attention/call/coordinates.hpp>
#include <posenc/attention/decode/leaves.hpp>
#include <posenc/attention/keys/storage.hpp>
#include <posenc/executor/tasks.hpp>
#include <posenc/select/key_selector.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class S, class A, class U>
struct ChooseCall {
  const S& selector;
  const Answers& answers;
  const Rotary& rotary;
  Rows<A> q;
  Rows<U> k;
  Coordinates at;
  std::span<const double> mass;  ///< [key][query head]
  StoredDots<float> dots = nullptr;
  RotateRows<float> rotate = nullptr;

  /// Rows [first, first + tokens) of heads side by side as floats, [token][head][width].
  template <class T>
  static void load(const Rows<T>& from, Index first, Index tokens, Index head, Index heads,
                   float* to) {
    for (Index t = first; t < first + tokens; ++t)
      for (Index h = head; h < head + heads; ++h, to += from.width) load_floats(from, t, h, to);
  }
  /// Rows of a key head, or of the query heads that meet it.
  void turn(Side side, Index kv_head, const Positions& positions, float* rows, Index tokens,
            Index heads) const {
    const Rotary& own = rotary.of(kv_head);
    const double factor = side == Side::query ? own.state.attention_factor : 1;
    const TensorView<float> y(rows, tokens, heads, k.width);
    rotate(own, own.angles, {.amplitude = factor * factor, .side = side}, positions,
           TensorView<const float>(y), y);
  }
};

/// Summaries of the blocks that are complete, [head][block][width].
template <class S, class A, class U>
std::vector<float> summaries_of(const ChooseCall<S, A, U>& call, const AnyExecutor& executor) {
  const S& selector = call.selector;
  const Index block = selector.block, blocks = call.k.tokens / block, width = call.k.width,
              numbers = selector.summary_width(width), kv_heads = call.k.heads,
              group = call.q.heads / kv_heads, of_key = needs_mass<S> ? group : 1;
  std::vector<float> all(static_cast<std::size_t>(kv_heads * of_key * blocks * numbers));
  const Index tasks = kv_heads * blocks,
              workers = std::clamp<Index>(tasks, 1, executor.concurrency());
  std::vector<std::vector<float>> rooms(static_cast<std::size_t>(workers));
  std::vector<std::vector<double>> masses(rooms.size());
  for (auto& room : rooms) room.resize(static_cast<std::size_t>(block * width));
  for (auto& mass : masses) mass.resize(static_cast<std::size_t>(needs_mass<S> ? block : 0));
  run_tasks(executor, workers, tasks, [&](Index w) {
    return [&, keys = rooms[static_cast<std::size_t>(w)].data(),
            mass = std::span(masses[static_cast<std::size_t>(w)])](Index task) {
      const Index head = task / blocks, b = task % blocks;
      call.load(call.k, b * block, block, head, 1, keys);
      if (S::rotated && call.rotate)
        call.turn(Side::key, head,
                  call.at.key.subspan(static_cast<std::size_t>(b * block),
                                      static_cast<std::size_t>(block)),
                  keys, block, 1);
      for (Index g = 0; g < of_key; ++g) {
        KeyBlock rows{keys, block, width};
        const Index h = head * of_key + g;
        if constexpr (needs_mass<S>) {
          for (Index t = 0; t < block; ++t)
            mass[static_cast<std::size_t>(t)] =
                call.mass[static_cast<std::size_t>((b * block + t) * call.q.heads + h)];
          rows.mass = mass;
        }
        selector.summarize(rows, all.data() + (h * blocks + b) * numbers);
      }
    };
  });
  return all;
}

}  // namespace detail

POSENC_NAMESPACE_END
