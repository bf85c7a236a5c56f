// SPDX-License-Identifier: MIT
//
// What pairs of tokens of a chunk give to the gradients of queries and keys. dw[t][m] is the gradient of the weight that
// token m has for token t, W[t][m] = sum of q_t k_m (decays from m to t): with one decay for a head
//
//   dq = (dw o decays) k,  dk = (dw o decays)^T q
//
// With one for each channel the decays stand within the products. As in chunk_weights.hpp, keys decay to the end of their
// block of 16 and through the blocks between, queries from the start of theirs, the other way round for dk, and pairs
// within a block are summed token by token.
#pragma once

#include <posenc/mixers/backward/decays.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

class PairGradients {
 public:
  PairGradients(const MixerCall& call, const MixerBuffers& forward,
                const MixerBackwardBuffers& buffers, const ChunkDecays& decays)
      : of_(call.of()), leaves_(call.leaves), in_(forward), at_(buffers), decays_(decays) {}

  /// dq and dk of so many tokens, from dw, zero for later tokens and where nothing decays, and q and k as they are read
  /// and written.
  void run(Index tokens) const {
    if (decays_.by_channel()) return by_channel(tokens);
    if (of_.decay == mixers::Decay::head) {
      std::fill_n(at_.no_own, mixer_chunk, 0.0F);
      leaves_.decay_scores(of_.reads_before(), tokens, mixer_chunk, at_.dw, in_.decay, in_.ones,
                           at_.no_own, at_.dw, in_.to_end, in_.from_start);
    }
    for (Index t = 0; t < tokens; t += mixer_block) {
      const Index n = std::min(mixer_block, tokens - t), keys = at_.keys;
      of_earlier(n, std::min(t + mixer_block, tokens), t, in_.k, at_.dq);
      leaves_.product(false, n, tokens - t, keys, at_.dw + t * mixer_chunk + t, 1, mixer_chunk,
                      in_.q + t * keys, at_.dk + t * keys, keys);
    }
  }

 private:
  /// dq of n tokens from t on, of the first `count` tokens.
  void of_earlier(Index n, Index count, Index t, const float* k, float* dq) const {
    leaves_.product(false, n, count, at_.keys, at_.dw + t * mixer_chunk, mixer_chunk, 1, k,
                    dq + t * at_.keys, at_.keys);
  }

  void by_channel(Index tokens) const {
    const Index keys = at_.keys, last = (tokens - 1) / mixer_block * mixer_block;
    leaves_.fill(tokens * keys, 0, at_.dq), leaves_.fill(tokens * keys, 0, at_.dk);
    std::copy_n(in_.k, tokens * keys, at_.k_since);
    std::copy_n(in_.q, tokens * keys, at_.q_until);
    for (Index t = mixer_block; t <= last; t += mixer_block) {
      const Index n = std::min(mixer_block, tokens - t), before = t - mixer_block;
      decay_rows(0, before, before, at_.k_since);
      decays_.to_block_end(before, mixer_block, at_.k_since + before * keys);
      of_earlier(n, t, t, at_.k_since, at_.dq);
      decays_.from_block(t, n, at_.dq + t * keys);
    }
    for (Index t = last - mixer_block; t >= 0; t -= mixer_block) {
      const Index next = t + mixer_block, behind = next + mixer_block;
      decay_rows(behind, tokens, next, at_.q_until);
      decays_.from_block(next, std::min(mixer_block, tokens - next), at_.q_until + next * keys);
      leaves_.product(false, mixer_block, tokens - next, keys, at_.dw + next * mixer_chunk + t, 1,
                      mixer_chunk, at_.q_until + next * keys, at_.dk + t * keys, keys);
      decays_.to_block_end(t, mixer_block, at_.dk + t * keys);
    }
    for (Index t = 0; t < tokens; t += mixer_block) {
      const Index at = t * keys;
      leaves_.gradient.pairs(of_.reads_before(), std::min(mixer_block, tokens - t), keys,
                             in_.q + at, in_.k + at, decays_.of_tokens(t), decays_.row(),
                             at_.dw + t * mixer_chunk + t, mixer_chunk, at_.dq + at, at_.dk + at);
    }
  }
  /// Rows [first, last) pass a block.
  void decay_rows(Index first, Index last, Index block, float* rows) const {
    if (first < last)
      leaves_.multiply_rows(last - first, at_.keys, rows + first * at_.keys,
                            decays_.of_block(block), rows + first * at_.keys, at_.keys);
  }

  const mixers::Recurrence& of_;
  const mixers::Leaves& leaves_;
  const MixerBuffers& in_;
  const MixerBackwardBuffers& at_;
  const ChunkDecays& decays_;
};

}  // namespace detail

POSENC_NAMESPACE_END
