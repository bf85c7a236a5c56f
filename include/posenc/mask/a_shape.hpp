// SPDX-License-Identifier: MIT
//
// AShape: each query head sees the first tokens of the sequence and its recent ones, as many as the head needs.
//
//   Jiang et al., MInference 1.0, arXiv 2407.02490; microsoft/MInference, minference_forward.py,
//   streaming_kernel.py.
//
//   visible: D >= 0 and (D < window(head) or key_index < sinks(head)),  D = query_index - key_index
//
// It is SinkWindow with parameters of each head; one entry serves all heads, and then it is SinkWindow. A head whose
// window is SlidingWindow::unlimited sees everything before it. Tiles are left out for each head by itself: in
// prefill and in gradients for a query head, in decoding for the query heads of a key head together.
// Distances stay what they are, also those of sinks.
//
// The search of the reference tries (100, 800). Errata: its shape for all heads at once (`a_shape`) has no
// defaults, n_init and n_local come from the caller; files of patterns call the shape "stream_llm", and in most of
// them a search has written the same two numbers as "vertical_and_slash", which is VerticalSlash.
//
// Cache: a ring of the greatest sinks and the greatest window suffices.
#pragma once

#include <posenc/mask/by_head.hpp>
#include <posenc/mask/sink_window.hpp>

#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A SinkWindow of each query head.
struct HeadWindows {
  std::vector<SinkWindow> heads;

  [[nodiscard]] bool visible(const Score& at) const { return of(at.head).visible(at); }
  [[nodiscard]] TileClass classify(const Tile& tile) const {
    return classify_heads(tile, [&](Position head) { return of(head).classify(tile); });
  }

 private:
  [[nodiscard]] const SinkWindow& of(Position head) const {
    return heads[static_cast<std::size_t>(head)];
  }
};

}  // namespace detail

struct AShape {
  /// Of each query head, or one for all.
  std::vector<SinkWindow> heads{{.sinks = 100, .window = 800}};

  [[nodiscard]] detail::HeadWindows prepare(const HeadShape& shape) const {
    if (heads.size() != 1) return {heads};
    return {std::vector<SinkWindow>(static_cast<std::size_t>(shape.num_heads), heads.front())};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    problems.require(heads.size() == 1 || std::ssize(heads) == shape.num_heads,
                     "AShape: heads must have one entry for each of the ", shape.num_heads,
                     " query heads or one for all, got ", heads.size(), ".");
    for (std::size_t head = 0; head < heads.size(); ++head) {
      const auto [sinks, window] = heads[head];
      if (sinks < 0 || window < 1)
        return problems.add(
            "AShape: sinks must not be negative and window, which counts the query's own "
            "token, must be at least 1, got ",
            sinks, " and ", window, " for head ", head, ".");
    }
  }
};

POSENC_NAMESPACE_END
