// SPDX-License-Identifier: MIT
//
// The prefill of a mixer: one thread, one sequence, some heads that share a key, chunk after chunk of 64 tokens, or of
// 32 with the delta rule.
//
// Within a chunk a token's output is a sum over the tokens before it, and over the state before the chunk:
//
//   O = W V + (Q decayed from the start) S,   W = Q K^T with decays, zero for later tokens (chunk_weights.hpp)
//   S = (decay of the chunk) S + (K decayed to the end)^T V
//
// which are four products of matrices. With the delta rule keys read as queries do, and V is what tokens write, U, which
// depends on what those before them wrote: U = beta (V - (K decayed from the start) S - (K K^T with decays, below the
// diagonal) U), solved row after row. With a removal vector Z that is a second list of rows that are written, with
// values U = -(Z decayed from the start) S - (Z K^T with decays) V - (Z (beta o Z)^T with decays) U.
#pragma once

#include <posenc/mixers/chunk_weights.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

class ChunkWorker {
 public:
  ChunkWorker(const MixerCall& call, std::byte* memory)
      : call_(call), of_(call.of()), leaves_(call.leaves), arena_(memory), at_(call.mixer, arena_),
        weights_(call, at_), soon_(call) {}

  static Index bytes(const mixers::Mixer& mixer) {
    Arena arena(nullptr);
    static_cast<void>(MixerBuffers(mixer, arena));
    return arena.used();
  }

  /// Tokens [first, first + tokens) of a sequence, for heads [head, head + heads). All heads take a chunk before any
  /// takes the next, so that memory is read nearly as it lies.
  void run(Index sequence, Index first, Index tokens, Index head, Index heads) {
    const Index slot = call_.slot(sequence);
    // The delta rule has two or four matrices of weights to compute: shorter chunks take fewer operations.
    const Index chunk = of_.delta ? mixer_chunk / 2 : mixer_chunk;
    for (Index done = 0; done < tokens; done += chunk) {
      first_ = first + done;
      tokens_ = std::min(chunk, tokens - done);
      seen_ = call_.state.tokens(slot) + done;
      for (Index h = head; h < head + heads; ++h) {
        const bool is_last = h + 1 == head + heads;
        const Index next = is_last ? head : h + 1, from = is_last ? first_ + tokens_ : first_;
        soon_.begin(first_, tokens_, h, from, std::min(chunk, first + tokens - from), next,
                    is_last || call_.key_head(next) != call_.key_head(h));
        if (h == head || call_.key_head(h) != call_.key_head(h - 1))
          weights_.load_keys(first_, tokens_, call_.key_head(h));
        head_of_chunk(slot, h);
      }
    }
  }

 private:
  void head_of_chunk(Index slot, Index head) {
    const bool by_channel = of_.decay == mixers::Decay::channel;
    load_rows(leaves_, call_.v, first_, tokens_, head, at_.v, at_.values);
    weights_.of_head(head, soon_);
    float* const s = call_.state.matrix(slot, head);
    if (of_.keeps_sum) sums(call_.state.sum(slot, head));
    if (of_.delta) solve(head, s);
    if (!of_.skip.empty())
      for (Index t = 0; t < tokens_; ++t)
        at_.w[t * mixer_chunk + t] += of_.skip[static_cast<std::size_t>(head)];

    const auto writers = weights_.writers();
    const Index keys = call_.shape().key_dim, soon = by_channel && !of_.whole_chunks() ? 4 : 8;
    for (Index t = 0; t < tokens_; t += mixer_block) {
      const Index rows = std::min(mixer_block, tokens_ - t);
      float* const out = at_.out + t * at_.values;
      for (std::size_t i = 0; i < writers.size(); ++i)
        leaves_.product(i > 0, rows, std::min(t + mixer_block, tokens_), at_.values,
                        weights_.weights(0, i) + t * mixer_chunk, mixer_chunk, 1, writers[i].values,
                        out, at_.values);
      soon_.some(soon);
      leaves_.product(true, rows, keys, at_.values, at_.q_from + t * at_.keys, at_.keys, 1, s, out,
                      at_.values);
      soon_.some(soon);
    }
    leaves_.decay_state(keys, at_.values, at_.keep, at_.change, s, at_.values);
    if (!by_channel) leaves_.scale_rows(tokens_, at_.values, at_.v, at_.values, at_.to_end);
    for (const ChunkWeights::Writer& writer : writers)
      leaves_.product(true, keys, tokens_, at_.values, writer.across, mixer_chunk, 1, writer.values,
                      s, at_.values);
    store(head);
  }

  /// The values of the last writer, by the delta rule: what differs of the values they are, or, with a removal vector,
  /// minus what it reads, of the state and of what is written.
  void solve(Index head, const float* s) {
    const auto writers = weights_.writers();
    const std::size_t last = writers.size() - 1;
    float* const u = writers[last].values;
    const float* beta = at_.ones;
    if (of_.removal) {
      std::fill_n(u, tokens_ * at_.values, 0.0F);
    } else {
      load_rows(leaves_, call_.beta, first_, tokens_, head, at_.beta, 1);
      beta = at_.beta;
    }
    leaves_.product(false, tokens_, call_.shape().key_dim, at_.values, at_.k_from, at_.keys, 1, s,
                    at_.out, at_.values);
    for (Index t = 0; t < tokens_; t += mixer_block) {
      const Index n = std::min(mixer_block, tokens_ - t);
      float* const read = at_.out + t * at_.values;
      for (std::size_t i = 0; i <= last; ++i) {
        const Index before = i < last ? std::min(t + mixer_block, tokens_) : t;
        if (before > 0)
          leaves_.product(true, n, before, at_.values, weights_.weights(1, i) + t * mixer_chunk,
                          mixer_chunk, 1, writers[i].values, read, at_.values);
      }
      leaves_.solve(n, at_.values, weights_.weights(1, last) + t * mixer_chunk + t, mixer_chunk,
                    beta + t, read, u + t * at_.values, at_.values);
    }
  }

  /// at_.sums[t] = <q_t, z_t>, and z behind the chunk. W holds what tokens are for one another; no bonus goes with it.
  void sums(float* z) {
    for (Index t = 0; t < tokens_; ++t)
      at_.sums[t] = leaves_.sum(round_up(t + 1, mixer_block), at_.w + t * mixer_chunk) +
                    leaves_.dot(at_.keys, at_.q_from + t * at_.keys, z);
    for (Index c = 0; c < at_.keys; ++c) {
      const float* const k = at_.k_across + c * mixer_chunk;
      const float added = of_.decay == mixers::Decay::channel
                              ? leaves_.sum(round_up(tokens_, mixer_block), k)
                              : leaves_.dot(tokens_, at_.to_end, k);
      z[c] = at_.keep[c] * z[c] + (at_.change[c] * z[c] + added);
    }
  }

  void store(Index head) {
    for (Index t = 0; t < tokens_; ++t) {
      float* const row = at_.out + t * at_.values;
      if (of_.normaliser) {
        const float factor = of_.normaliser(of_, head, seen_ + t, of_.keeps_sum ? at_.sums[t] : 0);
        leaves_.scale_rows(1, at_.values, row, at_.values, &factor);
      }
      call_.out.store(first_ + t, head, row);
    }
  }

  const MixerCall& call_;
  const mixers::Recurrence& of_;
  const mixers::Leaves& leaves_;
  Arena arena_;
  MixerBuffers at_;
  ChunkWeights weights_;
  SoonRows soon_;
  Index first_ = 0, tokens_ = 0;
  Position seen_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
