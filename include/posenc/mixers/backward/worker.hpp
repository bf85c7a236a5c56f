// SPDX-License-Identifier: MIT
//
// The gradients of one sequence and the heads that share a key, by one thread: for each head a pass forward, which keeps
// the state at the beginning of each chunk, and a pass backward, in which a chunk has, with W as in chunk_worker.hpp and
// the adjoint dS of the state behind it,
//
//   dW = d_out V^T                                  the weights of pairs of tokens: pairs.hpp makes dq and dk of them
//   dq += (d_out S^T) decayed from the start        dk += (V dS^T) decayed to the end
//   dV = W^T d_out + (K decayed to the end) dS      dS = (decay of the chunk) dS + (Q decayed from the start)^T d_out
//
// which are eight products of matrices, and W again. Where a mixer keeps a sum, it is one more column of values, all ones.
#pragma once

#include <posenc/mixers/backward/pairs.hpp>
#include <posenc/mixers/chunk_weights.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

class MixerBackwardWorker {
 public:
  MixerBackwardWorker(const MixerBackwardCall& call, Index chunks, std::byte* memory)
      : call_(call), forward_(call.forward), of_(forward_.of()), leaves_(forward_.leaves),
        arena_(memory), in_(forward_.mixer, arena_), at_(forward_.mixer, chunks, arena_),
        decays_(forward_.mixer, at_.ones, arena_), weights_(forward_, in_), soon_(forward_),
        pairs_(forward_, in_, at_, decays_) {
    std::fill_n(at_.ones, std::max(mixer_block * at_.keys, at_.values), 1.0F);
    std::fill_n(at_.no_own, mixer_chunk, 0.0F);
  }

  static Index bytes(const mixers::Mixer& mixer, Index chunks) {
    Arena arena(nullptr);
    static_cast<void>(MixerBuffers(mixer, arena));
    const MixerBackwardBuffers buffers(mixer, chunks, arena);
    static_cast<void>(ChunkDecays(mixer, buffers.ones, arena));
    return arena.used();
  }

  /// Tokens [first, first + tokens) of a sequence, for the heads of a key.
  void run(Index sequence, Index first, Index tokens, Index key_head) {
    const Index slot = forward_.slot(sequence);
    const Index heads = forward_.shape().heads / forward_.shape().key_heads;
    for (Index h = key_head * heads; h < (key_head + 1) * heads; ++h) {
      head_ = h, adds_ = h > key_head * heads;
      sums_ = call_.sums.of(sequence, h);
      ds_ = forward_.state.matrix(slot, h), dz_ = forward_.state.sum(slot, h);
      keep_states(slot, first, tokens);
      for (Index i = mixer_chunks(tokens); i-- > 0;) {
        first_ = first + i * mixer_chunk;
        tokens_ = std::min(mixer_chunk, first + tokens - first_);
        seen_ = call_.before.tokens(slot) + i * mixer_chunk;
        chunk(at_.state(i));
      }
    }
  }

 private:
  /// The states at the beginnings of chunks, across; behind each its sum.
  void keep_states(Index slot, Index first, Index tokens) {
    const Index keys = at_.keys, values = at_.values, rows = forward_.shape().key_dim;
    std::copy_n(call_.before.matrix(slot, head_), rows * values, at_.s);
    leaves_.fill(keys, 0, at_.z);
    if (of_.keeps_sum) std::copy_n(call_.before.sum(slot, head_), keys, at_.z);
    for (Index i = 0; i < mixer_chunks(tokens); ++i) {
      simd::to_panel(rows, values, keys, at_.s, values, at_.ones, at_.state(i));
      std::copy_n(at_.z, keys, at_.state(i) + values * keys);
      first_ = first + i * mixer_chunk;
      tokens_ = mixer_chunk;
      if (first_ + tokens_ >= first + tokens) return;
      load_decays(forward_, first_, tokens_, head_, in_.decay, decays_.by_channel() ? keys : 1,
                  in_.write);
      decays_.begin(in_.decay, tokens_);
      load_rows(leaves_, forward_.k, first_, tokens_, forward_.key_head(head_), at_.k_to, keys);
      load_rows(leaves_, forward_.v, first_, tokens_, head_, in_.v, values);
      leaves_.scale_rows(tokens_, keys, at_.k_to, keys, in_.write);
      decays_.to_end(at_.k_to);
      leaves_.decay_state(rows, values, decays_.keep(), decays_.change(), at_.s, values);
      leaves_.product(true, rows, tokens_, values, at_.k_to, 1, keys, in_.v, at_.s, values);
      decay_sum(at_.z);
      for (Index t = 0; t < tokens_; ++t) leaves_.gradient.add(keys, at_.k_to + t * keys, at_.z);
    }
  }
  void decay_sum(float* z) const {
    for (Index c = 0; c < at_.keys; ++c)
      z[c] = decays_.keep()[c] * z[c] + decays_.change()[c] * z[c];
  }

  void chunk(const float* s) {
    const Index keys = at_.keys, values = at_.values, n = tokens_;
    weights_.load_keys(first_, n, forward_.key_head(head_));
    weights_.of_head(head_, soon_);
    decays_.begin(in_.decay, n);
    if (!decays_.by_channel()) leaves_.scale_rows(n, keys, in_.k, keys, in_.write);
    std::copy_n(in_.k, n * keys, at_.k_to);
    decays_.to_end(at_.k_to);
    load_rows(leaves_, forward_.v, first_, n, head_, in_.v, values);
    load_rows(leaves_, call_.d_out, first_, n, head_, at_.d_out, values);
    simd::to_panel(forward_.shape().key_dim, values, keys, ds_, values, at_.ones, at_.ds_across);

    simd::to_panel(n, values, mixer_chunk, in_.v, values, at_.ones, at_.v_across);
    for (Index t = 0; t < n; t += mixer_block)
      leaves_.product(false, std::min(mixer_block, n - t), values, t + mixer_block,
                      at_.d_out + t * values, values, 1, at_.v_across, at_.dw + t * mixer_chunk,
                      mixer_chunk);
    leaves_.product(false, n, values, keys, at_.d_out, values, 1, s, at_.of_state, keys);
    if (of_.normaliser) through_normaliser(s + values * keys);
    of_values();
    leaves_.product(false, n, values, keys, in_.v, values, 1, at_.ds_across, at_.to_end, keys);
    if (of_.keeps_sum)
      for (Index t = 0; t < n; ++t) leaves_.gradient.add(keys, dz_, at_.to_end + t * keys);

    take_undecayed();
    pairs_.run(n);
    decays_.from_start(at_.of_state);
    decays_.to_end(at_.to_end);
    leaves_.gradient.add(n * keys, at_.of_state, at_.dq);
    if (of_.decay != mixers::Decay::none) of_log_decays(s);
    leaves_.gradient.add(n * keys, at_.to_end, at_.dk);
    add_undecayed();
    of_keys();
    if (of_.decay != mixers::Decay::none) of_decays();

    leaves_.decay_state(forward_.shape().key_dim, values, decays_.keep(), decays_.change(), ds_,
                        values);
    leaves_.product(true, forward_.shape().key_dim, n, values, in_.q_from, 1, keys, at_.d_out, ds_,
                    values);
    if (!of_.keeps_sum) return;
    decay_sum(dz_);
    for (Index t = 0; t < n; ++t)
      leaves_.add_scaled(keys, at_.of_sum[t], in_.q_from + t * keys, dz_);
  }

  /// Outputs were multiplied by a factor, which may depend on the sum <q, z>: d_out, and what came of it so far, become
  /// gradients of what was multiplied, and of_sum those of the sums.
  void through_normaliser(const float* z) const {
    const Index keys = at_.keys;
    for (Index t = 0; t < tokens_; ++t) {
      const Index m = round_up(t + 1, mixer_block);
      const float *const w = in_.w + t * mixer_chunk, *const q = in_.q_from + t * keys;
      float *const dw = at_.dw + t * mixer_chunk, *const state = at_.of_state + t * keys;
      const float sum = of_.keeps_sum ? leaves_.sum(m, w) + leaves_.dot(keys, q, z) : 0;
      const float factor = of_.normaliser(of_, head_, seen_ + t, sum);
      const float skip = of_.skip.empty() ? 0 : of_.skip[static_cast<std::size_t>(head_)];
      const float read =
          leaves_.dot(m, w, dw) + leaves_.dot(keys, q, state) + skip * dw[t];  // <d_out, output>
      const float of_sum =
          of_.keeps_sum ? of_.normaliser_slope(of_, head_, seen_ + t, sum) * read : 0;
      at_.of_sum[t] = of_sum;
      leaves_.scale_rows(1, at_.values, at_.d_out + t * at_.values, at_.values, &factor);
      leaves_.scale_rows(1, m, dw, mixer_chunk, &factor);
      leaves_.scale_rows(1, keys, state, keys, &factor);
      if (!of_.keeps_sum) continue;
      for (Index i = 0; i < m; ++i) dw[i] += of_sum;
      leaves_.add_scaled(keys, of_sum, z, state);
    }
  }

  /// dv, and the gradient of the skip.
  void of_values() const {
    const Index values = at_.values, n = tokens_;
    if (!of_.skip.empty())
      for (Index t = 0; t < n; ++t) {
        in_.w[t * mixer_chunk + t] += of_.skip[static_cast<std::size_t>(head_)];
        sums_[0] += leaves_.dot(values, at_.d_out + t * values, in_.v + t * values);
      }
    for (Index t = 0; t < n; t += mixer_block)
      leaves_.product(false, std::min(mixer_block, n - t), n - t, values,
                      in_.w + t * mixer_chunk + t, 1, mixer_chunk, at_.d_out + t * values,
                      at_.dv + t * values, values);
    leaves_.product(true, n, forward_.shape().key_dim, values, at_.k_to, at_.keys, 1, ds_, at_.dv,
                    values);
    for (Index t = 0; t < n; ++t) call_.v.store(first_ + t, head_, at_.dv + t * values);
  }

  /// Takes what a token is for itself, and for the next where that reads the state before it, out of dw: no decay stands
  /// between them, and their gradient is none of a decay's.
  void take_undecayed() const {
    leaves_.mask_scores(tokens_, mixer_chunk, at_.dw, in_.ones, at_.dw);
    for (Index t = 0; t < tokens_; ++t) {
      float* const w = at_.dw + t * mixer_chunk + t;
      at_.own[t] = std::exchange(*w, 0.0F);
      at_.next[t] = of_.reads_before() && t > 0 ? std::exchange(w[-1], 0.0F) : 0;
    }
  }
  void add_undecayed() {
    const Index keys = at_.keys;
    const float* const bonus = of_.reads_before() ? forward_.mixer.bonus(head_) : nullptr;
    for (Index t = 0; t < tokens_; ++t) {
      const float *const q = in_.q + t * keys, *const k = in_.k + t * keys;
      float *const dq = at_.dq + t * keys, *const dk = at_.dk + t * keys;
      if (!bonus) {
        leaves_.add_scaled(keys, at_.own[t], k, dq), leaves_.add_scaled(keys, at_.own[t], q, dk);
        continue;
      }
      if (t > 0) {
        leaves_.add_scaled(keys, at_.next[t], k - keys, dq);
        leaves_.add_scaled(keys, at_.next[t], q, dk - keys);
      }
      leaves_.multiply(keys, bonus, k, at_.through);
      leaves_.add_scaled(keys, at_.own[t], at_.through, dq);
      leaves_.multiply(keys, bonus, q, at_.through);
      leaves_.add_scaled(keys, at_.own[t], at_.through, dk);
      double* const of_bonus = call_.sums.bonus(sums_);
      for (Index c = 0; c < forward_.shape().key_dim; ++c)
        of_bonus[c] += static_cast<double>(at_.own[t] * q[c]) * static_cast<double>(k[c]);
    }
  }

  /// Of the log decays of tokens, by channel.
  void of_log_decays(const float* s) const {
    const Index keys = at_.keys;
    leaves_.fill(keys, 0, at_.through);
    for (Index j = 0; j < forward_.shape().value_dim; ++j)
      leaves_.gradient.add_products(keys, s + j * keys, at_.ds_across + j * keys, at_.through);
    if (of_.keeps_sum) leaves_.gradient.add_products(keys, s + at_.values * keys, dz_, at_.through);
    decay_sum(at_.through);
    leaves_.gradient.decays(of_.reads_before(), tokens_, keys, in_.q, at_.dq, in_.k, at_.dk,
                            at_.to_end, at_.through, at_.of_log);
  }

  /// dq and dk as they were passed, and gradients of the factors by which keys were written.
  void of_keys() const {
    const Index keys = at_.keys, n = tokens_, key_head = forward_.key_head(head_);
    if (of_.rule) {
      load_rows(leaves_, forward_.k, first_, n, key_head, in_.k, keys);
      for (Index t = 0; t < n; ++t)
        at_.of_write[t] = leaves_.dot(keys, in_.k + t * keys, at_.dk + t * keys);
      leaves_.scale_rows(n, keys, at_.dk, keys, in_.write);
    }
    std::fill_n(at_.next, n, static_cast<float>(of_.query_scale));
    leaves_.scale_rows(n, keys, at_.dq, keys, at_.next);
    const auto add_or_store = [&](const OutRows<float>& to, const Rows<float>& so_far,
                                  const float* rows) {
      add_or_store_rows(to, so_far, adds_, first_, n, key_head, rows, keys, at_.through);
    };
    add_or_store(call_.q, call_.q_so_far, at_.dq), add_or_store(call_.k, call_.k_so_far, at_.dk);
  }

  /// From gradients of log decays by channel to those of what was passed, or of the constants.
  void of_decays() const {
    const Index keys = at_.keys, n = tokens_, row = decays_.by_channel() ? keys : 1;
    if (row == 1)
      for (Index t = 0; t < n; ++t) at_.of_log[t] = leaves_.sum(keys, at_.of_log + t * keys);
    for (Index t = 0; t < n; ++t)
      for (Index c = 0; c < row; ++c)
        if (in_.decay[(of_.decays_by_token() || row == 1 ? t * row : 0) + c] < least_log_decay)
          at_.of_log[t * row + c] = 0;
    store_decay_gradients(call_, head_, first_, n, row, at_.passed, at_.of_log, at_.of_write,
                          sums_);
  }

  static constexpr float least_log_decay = -18;  // e^-18 is a quarter of what rounding takes of 1

  const MixerBackwardCall& call_;
  const MixerCall& forward_;
  const mixers::Recurrence& of_;
  const mixers::Leaves& leaves_;
  Arena arena_;
  MixerBuffers in_;
  MixerBackwardBuffers at_;
  ChunkDecays decays_;
  ChunkWeights weights_;
  SoonRows soon_;
  PairGradients pairs_;
  Index head_ = 0, first_ = 0, tokens_ = 0;
  Position seen_ = 0;
  bool adds_ = false;
  double* sums_ = nullptr;
  float *ds_ = nullptr, *dz_ = nullptr;
};

}  // namespace detail

POSENC_NAMESPACE_END
