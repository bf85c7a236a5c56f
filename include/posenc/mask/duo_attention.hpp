// SPDX-License-Identifier: MIT
//
// DuoAttention: heads that retrieve see everything before them, the others the first tokens and the recent ones.
//
//   Xiao et al., DuoAttention, arXiv 2410.10819; mit-han-lab/duo-attention, duo_attn/utils.py,
//   duo_attn/patch/{llama,streaming_attn}.py.
//
//   full head:       D >= 0                                             D = query_index - key_index
//   streaming head:  D >= 0 and (D < recent or key_index < sinks)
//
// Which heads retrieve is learned: a gate of each key head and layer mixes the outputs of both kinds, pressed
// towards 0. Of all gates of a model the least become streaming heads: half of them where key heads serve several
// query heads, three quarters where each serves one.
//
// The files of the reference have a gate for each key head, so a list of them serves its query heads alike; a list for
// query heads is taken as well. Scores of a streaming head are computed for sinks and recent tokens alone.
//
// Errata. The reference's models are run with 64 sinks, though all of its files were trained with 128. Its prompt
// is full attention in every head, and a chunk of a prompt sees all of itself; a single token sees `recent` tokens
// besides its own. Here every query sees what the training's mask shows, in a prompt and token by token. To
// decode as the reference does, add 1 to recent. Equal gates are told apart by random numbers there, here by
// their place.
//
// Cache: all keys, of which a streaming head reads sinks + recent.
#pragma once

#include <posenc/mask/a_shape.hpp>
#include <posenc/mask/sliding_window.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct DuoAttention {
  std::vector<bool> full;  ///< of each key head, or of each query head: sees everything before it
  Position sinks = 64;     ///< tokens at the start of the sequence that a streaming head sees
  Position recent = 256;   ///< recent tokens that it sees, the query's own included

  /// Heads whose gate is at least the threshold are full.
  [[nodiscard]] static DuoAttention from_gates(std::span<const double> gates,
                                               double threshold = 0.5) {
    DuoAttention layer;
    for (const double gate : gates) layer.full.push_back(gate >= threshold);
    return layer;
  }

  /// The layers of a model from all gates, [layers][heads]: those below the quantile `sparsity` stream,
  /// which is ceil((gates - 1) sparsity) of them, all at 1. Gates count as if cut to 0 ... 1; the earlier of
  /// equal ones streams first.
  /// Throws Error for gates that do not divide into layers, or are NaN, and for a sparsity that is.
  [[nodiscard]] static std::vector<DuoAttention> from_gates(std::span<const double> gates,
                                                            Index layers, double sparsity) {
    Problems problems;
    const Index count = std::ssize(gates);
    problems.require(layers > 0 && count > 0 && count % layers == 0,
                     "gates are [layers][heads], but ", count, " of them do not divide into ",
                     layers, " layers.");
    const auto unknown = std::find_if(gates.begin(), gates.end(), [](double x) { return x != x; });
    problems.require(unknown == gates.end(), "gates must be numbers, but number ",
                     unknown - gates.begin(), " is NaN.");
    problems.require(sparsity == sparsity, "sparsity must be a number, got NaN.");
    problems.raise_if_any("posenc::DuoAttention::from_gates");

    const auto cut = [&](Index i) {
      return std::clamp(gates[static_cast<std::size_t>(i)], 0.0, 1.0);
    };
    std::vector<Index> order(gates.size());
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return cut(a) < cut(b); });
    const auto below = std::ceil(static_cast<double>(count - 1) * std::clamp(sparsity, 0.0, 1.0));
    const Index streaming = sparsity >= 1 ? count : static_cast<Index>(below);

    const Index heads = count / layers;
    std::vector<DuoAttention> model(static_cast<std::size_t>(layers));
    for (DuoAttention& layer : model) layer.full.assign(static_cast<std::size_t>(heads), true);
    for (Index i = 0; i < streaming; ++i) {
      const Index gate = order[static_cast<std::size_t>(i)];
      model[static_cast<std::size_t>(gate / heads)].full[static_cast<std::size_t>(gate % heads)] =
          false;
    }
    return model;
  }

  [[nodiscard]] detail::HeadWindows prepare(const HeadShape& shape) const {
    detail::HeadWindows mask{
        std::vector<SinkWindow>(static_cast<std::size_t>(std::max<Index>(shape.num_heads, 0)))};
    const Index group = std::max<Index>(shape.num_heads / std::max<Index>(std::ssize(full), 1), 1);
    for (Index head = 0; head < shape.num_heads; ++head) {
      const bool everything = full[static_cast<std::size_t>(head / group)];
      mask.heads[static_cast<std::size_t>(head)] = {sinks,
                                                    everything ? SlidingWindow::unlimited : recent};
    }
    return mask;
  }

  void check(Problems& problems, const HeadShape& shape) const {
    problems.require(std::ssize(full) == shape.num_kv_heads || std::ssize(full) == shape.num_heads,
                     "DuoAttention: full must have an entry for each of the ", shape.num_kv_heads,
                     " key heads or of the ", shape.num_heads, " query heads, got ", full.size(),
                     ".");
    problems.require(sinks >= 0, "DuoAttention: sinks must not be negative, got ", sinks, ".");
    problems.require(recent >= 1,
                     "DuoAttention: recent counts tokens, the query's own included, and must be at "
                     "least 1, got ",
                     recent, ".");
  }
};

POSENC_NAMESPACE_END
