// SPDX-License-Identifier: MIT
//
// The prefill of a mixer: one thread, one sequence, some heads that share a key, chunk after chunk of 64 tokens.
//
// Within a chunk a token's output is a sum over the tokens before it, and over the state before the chunk:
//
//   O = W V + (Q decayed from the start) S,   W = Q K^T with decays, zero for later tokens
//   S = (decay of the chunk) S + (K decayed to the end)^T V
//
// which are four products of matrices. Decays are exponentials of sums of log decays, all of one sign, so none
// overflows and no sum cancels. Where a head has one decay, each score has its own: exp of the sum from m to t. Where
// it has one for each channel, it stands between q and k within their product, so a chunk is cut into blocks of 16:
// queries decay from the start of their block, keys to the end of theirs and through the blocks between, and pairs
// within a block are multiplied out, the query decaying token by token on its way back (leaves.inl).
//
// With the delta rule keys read as queries do, and V is what tokens write, U, which depends on what those before them
// wrote: U = beta (V - (K decayed from the start) S - (K K^T with decays, below the diagonal) U), solved row after row.
#pragma once

#include <posenc/mixers/call.hpp>
#include <posenc/mixers/fetch.hpp>
#include <posenc/simd/panels.hpp>

#include <array>
#include <span>

POSENC_NAMESPACE_BEGIN

namespace detail {

class ChunkWorker {
 public:
  ChunkWorker(const MixerCall& call, std::byte* memory)
      : call_(call), of_(call.of()), leaves_(call.leaves), arena_(memory), at_(call.mixer, arena_),
        soon_(call) {
    std::fill_n(at_.ones, mixer_chunk, 1.0F);
  }

  static Index bytes(const mixers::Mixer& mixer) {
    Arena arena(nullptr);
    static_cast<void>(MixerBuffers(mixer, arena));
    return arena.used();
  }

  /// Tokens [first, first + tokens) of a sequence, for heads [head, head + heads). All heads take a chunk before any
  /// takes the next, so that memory is read nearly as it lies.
  void run(Index sequence, Index first, Index tokens, Index head, Index heads) {
    const Index slot = call_.slot(sequence);
    for (Index done = 0; done < tokens; done += mixer_chunk) {
      first_ = first + done;
      tokens_ = std::min(mixer_chunk, tokens - done);
      seen_ = call_.state.tokens(slot) + done;
      for (Index h = head; h < head + heads; ++h) {
        const bool is_last = h + 1 == head + heads;
        const Index next = is_last ? head : h + 1, from = is_last ? first_ + tokens_ : first_;
        soon_.begin(first_, tokens_, h, from, std::min(mixer_chunk, first + tokens - from), next,
                    is_last || call_.key_head(next) != call_.key_head(h));
        if (h == head || call_.key_head(h) != call_.key_head(h - 1)) load_keys(call_.key_head(h));
        head_of_chunk(slot, h);
      }
    }
  }

 private:
  /// Rows that read the state and the tokens before them: queries, and with the delta rule keys.
  struct Reader {
    const float* rows;
    float *from, *scores, *w;
  };
  [[nodiscard]] std::span<const Reader> readers() const {
    return {readers_.data(), of_.delta ? 2U : 1U};
  }

  void load_keys(Index key_head) {
    load_rows(leaves_, call_.q, first_, tokens_, key_head, at_.q, at_.keys);
    load_rows(leaves_, call_.k, first_, tokens_, key_head, at_.k, at_.keys);
    if (of_.query_scale != 1) {
      std::fill_n(at_.own, tokens_, static_cast<float>(of_.query_scale));
      leaves_.scale_rows(tokens_, at_.keys, at_.q, at_.keys, at_.own);
    }
    if (of_.decay != mixers::Decay::channel) score();
  }

  /// Plain scores of the chunk, for all heads that share the key.
  void score() {
    simd::to_panel(tokens_, at_.keys, mixer_chunk, at_.k, at_.keys, at_.ones, at_.k_across);
    for (const Reader& reader : readers())
      for (Index t = 0; t < tokens_; t += mixer_block)
        leaves_.product(false, std::min(mixer_block, tokens_ - t), at_.keys, t + mixer_block,
                        reader.rows + t * at_.keys, at_.keys, 1, at_.k_across,
                        reader.scores + t * mixer_chunk, mixer_chunk);
  }

  void head_of_chunk(Index slot, Index head) {
    const bool by_channel = of_.decay == mixers::Decay::channel;
    load_rows(leaves_, call_.v, first_, tokens_, head, at_.v, at_.values);
    decays(head, by_channel);
    if (of_.reads_before()) own_terms(head);
    by_channel ? weights_by_channel() : weights_of_head();
    float* const s = call_.state.matrix(slot, head);
    if (of_.keeps_sum) sums(call_.state.sum(slot, head));
    if (of_.delta) solve(head, s);
    if (!of_.skip.empty())
      for (Index t = 0; t < tokens_; ++t)
        at_.w[t * mixer_chunk + t] += of_.skip[static_cast<std::size_t>(head)];

    const Index keys = call_.shape().key_dim;
    for (Index t = 0; t < tokens_; t += mixer_block) {
      const Index rows = std::min(mixer_block, tokens_ - t);
      float* const out = at_.out + t * at_.values;
      leaves_.product(false, rows, std::min(t + mixer_block, tokens_), at_.values,
                      at_.w + t * mixer_chunk, mixer_chunk, 1, at_.v, out, at_.values);
      soon_.some(by_channel ? 4 : 8);
      leaves_.product(true, rows, keys, at_.values, at_.q_from + t * at_.keys, at_.keys, 1, s, out,
                      at_.values);
      soon_.some(by_channel ? 4 : 8);
    }
    leaves_.decay_state(keys, at_.values, at_.keep, at_.change, s, at_.values);
    if (!by_channel) leaves_.scale_rows(tokens_, at_.values, at_.v, at_.values, at_.to_end);
    leaves_.product(true, keys, tokens_, at_.values, at_.k_across, mixer_chunk, 1, at_.v, s,
                    at_.values);
    store(head);
  }

  /// Log decays and, by channel, decays: a row for each token, or one for all where they are constant.
  void decays(Index head, bool by_channel) {
    load_decays(call_, first_, tokens_, head, at_.decay, by_channel ? at_.keys : 1, at_.write);
    if (!by_channel) return;
    decay_row_ = of_.decays_by_token() ? at_.keys : 0;
    leaves_.exponentials(decay_row_ == 0 ? at_.keys : tokens_ * at_.keys, at_.decay, at_.decays);
  }

  /// What tokens are for themselves where they read the state before them.
  void own_terms(Index head) {
    const float* const bonus = call_.mixer.bonus(head);
    for (Index t = 0; t < tokens_; ++t)
      at_.own[t] =
          at_.write[t] * leaves_.dot3(at_.keys, at_.q + t * at_.keys, bonus, at_.k + t * at_.keys);
  }

  /// One decay for all channels: w, q_from, to_end (which the values are multiplied by), keep and change.
  void weights_of_head() {
    float total = 0;
    if (of_.decay == mixers::Decay::none) {
      for (const Reader& reader : readers())
        leaves_.mask_scores(tokens_, mixer_chunk, reader.scores, at_.write, reader.w);
      if (of_.reads_before())
        for (Index t = 0; t < tokens_; ++t) at_.w[t * mixer_chunk + t] = at_.own[t];
      std::fill_n(at_.to_end, mixer_chunk, 0.0F);
      std::fill_n(at_.from_start, mixer_chunk, 0.0F);
    } else {
      for (const Reader& reader : readers())
        leaves_.decay_scores(of_.reads_before(), tokens_, mixer_chunk, reader.scores, at_.decay,
                             at_.write, at_.own, reader.w, at_.to_end, at_.from_start);
      for (Index t = 0; t < tokens_; ++t) total += at_.decay[t];
    }
    const Index padded = round_up(tokens_, 16);
    std::fill(at_.from_start + tokens_, at_.from_start + padded, 0.0F);
    leaves_.exponentials(padded, at_.from_start, at_.from_start);
    leaves_.exponentials(padded, at_.to_end, at_.to_end);
    for (Index t = 0; t < tokens_; ++t) at_.to_end[t] *= at_.write[t];
    for (const Reader& reader : readers()) {
      std::copy_n(reader.rows, tokens_ * at_.keys, reader.from);
      leaves_.scale_rows(tokens_, at_.keys, reader.from, at_.keys, at_.from_start);
    }
    std::fill_n(at_.keep, at_.keys, total);
    leaves_.decay_parts(at_.keys, at_.keep, at_.keep, at_.change);
  }

  /// A decay for each channel: the same, but k_across holds keys decayed to the end.
  void weights_by_channel() {
    const bool before = of_.reads_before();
    const Index keys = at_.keys;
    float *const since = at_.keep, *const block =
                                       at_.change;  // log decays from the start, and of a block
    if (of_.rule) leaves_.scale_rows(tokens_, keys, at_.k, keys, at_.write);
    std::fill_n(since, keys, 0.0F);
    for (Index t = 0; t < tokens_; t += mixer_block) {
      const Index n = std::min(mixer_block, tokens_ - t), at = t * keys;
      const float* const decays = at_.decays + t * decay_row_;
      float* const factors = at_.k_to + mixer_block * keys;
      for (const Reader& reader : readers()) {
        float* const w = reader.w + t * mixer_chunk;
        leaves_.block_decays(before, n, keys, reader.rows + at, at_.k + at,
                             at_.decay + t * decay_row_, decays, decay_row_, reader.from + at,
                             at_.k_to, block);
        leaves_.block_scores(before, n, keys, reader.rows + at, at_.k + at, decays, decay_row_,
                             at_.own + t, w + t, mixer_chunk);
        if (t == 0) continue;
        leaves_.product(false, n, keys, t, reader.from + at, keys, 1, at_.k_across, w, mixer_chunk);
        leaves_.exponentials(keys, since, factors);
        leaves_.multiply_rows(n, keys, reader.from + at, factors, reader.from + at, keys);
      }
      if (t > 0) {
        leaves_.exponentials(keys, block, factors);
        leaves_.scale_rows(keys, t, at_.k_across, mixer_chunk, factors);
      }
      std::fill(at_.k_to + n * keys, at_.k_to + mixer_block * keys, 0.0F);
      for (Index r = 0; r < mixer_block; r += 4)
        for (Index c = 0; c < keys; c += 4)
          simd::transpose_square<float>(at_.k_to + r * keys + c, keys, nullptr,
                                        at_.k_across + c * mixer_chunk + t + r, mixer_chunk,
                                        nullptr);
      for (Index c = 0; c < keys; ++c) since[c] += block[c];
      soon_.some(8);
    }
    leaves_.decay_parts(keys, since, at_.keep, at_.change);
  }

  /// What tokens write by the delta rule, in place of their values.
  void solve(Index head, const float* s) {
    load_rows(leaves_, call_.beta, first_, tokens_, head, at_.beta, 1);
    leaves_.product(false, tokens_, call_.shape().key_dim, at_.values, at_.k_from, at_.keys, 1, s,
                    at_.out, at_.values);
    for (Index t = 0; t < tokens_; t += mixer_block) {
      const Index n = std::min(mixer_block, tokens_ - t);
      float *const w = at_.k_w + t * mixer_chunk, *const read = at_.out + t * at_.values;
      if (t > 0)
        leaves_.product(true, n, t, at_.values, w, mixer_chunk, 1, at_.v, read, at_.values);
      leaves_.solve(n, at_.values, w + t, mixer_chunk, at_.beta + t, read, at_.v + t * at_.values,
                    at_.values);
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
  std::array<Reader, 2> readers_{
      {{at_.q, at_.q_from, at_.scores, at_.w}, {at_.k, at_.k_from, at_.k_scores, at_.k_w}}};
  SoonRows soon_;
  Index first_ = 0, tokens_ = 0;
  Position seen_ = 0;
  Index decay_row_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
