// SPDX-License-Identifier: MIT
//
// The gradients of a delta rule for one sequence and the heads that share a key, by one thread: token by token, from
// the last to the first, with the adjoint dS of the state. With q times its scale, and z what reads:
//
//   S_t = S' + k e^T,  e = beta (v - S'^T k),  S' = diag(a) S_{t-1}
//
//   dS += q d_out^T,  dq = S_t d_out         dk = dS e,  de = dS^T k,  dv = beta de,  dbeta = <de, v - S'^T k>
//   dk -= S' dv,  dS' = dS - k dv^T          dlog a = rowsum(dS' o S'),  dS = diag(a) dS'
//
// and with a removal vector, which reads before the decay,
//
//   S_t = diag(a) S_{t-1} - w r^T + k v^T,  r = S_{t-1}^T z,  w = beta o z
//
//   dS += q d_out^T,  dq = S_t d_out         dk = dS v,  dv = dS^T k,  dw = -dS r,  dr = -dS^T w
//   dz = beta o dw + S_{t-1} dr,  dbeta = z o dw
//   dlog a = a o rowsum(dS o S_{t-1}),  dS = diag(a) dS + z dr^T
//
// The states before each token are computed again, in chunks of 16 tokens, from those at the beginnings of chunks,
// which are computed first and kept: memory is O(tokens). Both passes step as StepWorker does.
#pragma once

#include <posenc/mixers/backward/call.hpp>
#include <posenc/mixers/backward/delta_leaves.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

class DeltaBackwardWorker {
 public:
  static constexpr Index chunk = 16;

  static Index chunks(Index tokens) { return (tokens + chunk - 1) / chunk; }

  DeltaBackwardWorker(const MixerBackwardCall& call, Index chunks, std::byte* memory)
      : call_(call), forward_(call.forward), of_(forward_.of()), leaves_(forward_.leaves),
        loops_(delta_gradient_leaves()), arena_(memory), at_(forward_.mixer, chunks, arena_) {}

  static Index bytes(const mixers::Mixer& mixer, Index chunks) {
    Arena arena(nullptr);
    static_cast<void>(Buffers(mixer, chunks, arena));
    return arena.used();
  }

  /// Tokens [first, first + tokens) of a sequence, for the heads of a key.
  void run(Index sequence, Index first, Index tokens, Index key_head) {
    const Index slot = forward_.slot(sequence);
    const Index heads = forward_.shape().heads / forward_.shape().key_heads;
    for (Index h = key_head * heads; h < (key_head + 1) * heads; ++h) {
      head_ = h, key_head_ = key_head, adds_ = h > key_head * heads;
      sums_ = call_.sums.of(sequence, h);
      ds_ = forward_.state.matrix(slot, h);
      keep_states(slot, first, tokens);
      for (Index i = chunks(tokens); i-- > 0;) {
        seen_ = call_.before.tokens(slot) + i * chunk;
        back(first + i * chunk, std::min(chunk, tokens - i * chunk), at_.kept + i * numbers());
      }
    }
  }

 private:
  struct Buffers {
    Index keys, values, rows;
    float *q, *k, *z, *w, *passed, *log, *keep, *change;  ///< [chunk][keys]
    float *dq, *dk, *dz, *dw, *of_log;
    float *v, *e, *d_out, *dv,
        *read;            ///< [chunk][values]; e is what is written, or what was removed, negative
    float *d_read, *out;  ///< [values]
    float *beta, *write, *factors;  ///< [chunk][keys] or [chunk]; [chunk]; [chunk]
    float *of_beta, *row;           ///< [chunk][keys] or [chunk]; [keys]
    float* states;  ///< [chunk + 1][rows][values], before each token and behind the last
    float* kept;    ///< [chunks][rows][values], before each chunk

    Buffers(const mixers::Mixer& mixer, Index chunks, Arena& arena)
        : keys(round_up(mixer.shape().key_dim, 16)), values(round_up(mixer.shape().value_dim, 16)),
          rows(mixer.shape().key_dim) {
      for (float** const one : {&q, &k, &z, &w, &passed, &log, &keep, &change, &dq, &dk, &dz, &dw,
                                &of_log, &beta, &of_beta})
        *one = arena.take<float>(chunk, keys);
      for (float** const one : {&v, &e, &d_out, &dv, &read})
        *one = arena.take<float>(chunk, values);
      for (float** const one : {&d_read, &out}) *one = arena.take<float>(1, values);
      for (float** const one : {&write, &factors}) *one = arena.take<float>(1, chunk);
      row = arena.take<float>(1, keys);
      Index state = 0;
      if (!multiply(rows, values, state)) state = Index{1} << 62;
      states = arena.take<float>(chunk + 1, state);
      kept = arena.take<float>(chunks, state);
    }
  };

  [[nodiscard]] Index numbers() const { return at_.rows * at_.values; }
  [[nodiscard]] Index decay_row() const {
    return of_.decay == mixers::Decay::channel ? at_.keys : 1;
  }

  /// Keys, values and decays of some tokens, and what each of them reads by.
  void load_tokens(Index first, Index n) const {
    const Index keys = at_.keys, values = at_.values, row = decay_row();
    load_rows(leaves_, forward_.k, first, n, key_head_, at_.k, keys);
    load_rows(leaves_, forward_.v, first, n, head_, at_.v, values);
    if (of_.removal) {
      load_rows(leaves_, forward_.removal, first, n, key_head_, at_.z, keys);
      load_rows(leaves_, forward_.beta, first, n, head_, at_.beta, keys);
      leaves_.multiply(n * keys, at_.beta, at_.z, at_.w);
    } else {
      load_rows(leaves_, forward_.beta, first, n, head_, at_.beta, 1);
    }
    if (!of_.decays_by_token()) {
      for (Index t = 0; t < n; ++t) {
        std::copy_n(forward_.mixer.keep(head_), keys, at_.keep + t * keys);
        std::copy_n(forward_.mixer.change(head_), keys, at_.change + t * keys);
      }
      return;
    }
    load_decays(forward_, first, n, head_, at_.log, row, at_.write);
    if (row == 1) std::fill(at_.log + n, at_.log + round_up(n, 16), 0.0F);
    leaves_.decay_parts(round_up(n * row, 16), at_.log, at_.log, at_.of_log);
    if (row > 1) {
      std::copy_n(at_.log, n * keys, at_.keep), std::copy_n(at_.of_log, n * keys, at_.change);
      return;
    }
    for (Index t = 0; t < n; ++t) {
      leaves_.fill(keys, at_.log[t], at_.keep + t * keys);
      leaves_.fill(keys, at_.of_log[t], at_.change + t * keys);
    }
  }
  /// Token t of the chunk: the state s before it becomes the one behind it, and e what it writes.
  void step(Index t, float* s) const {
    const Index keys = at_.keys, values = at_.values;
    const float *const k = at_.k + t * keys, *const keep = at_.keep + t * keys,
                       *const change = at_.change + t * keys, *const v = at_.v + t * values;
    float* const e = at_.e + t * values;
    if (of_.removal) {
      leaves_.fill(values, 0, e);
      leaves_.erase(at_.rows, values, nullptr, nullptr, at_.z + t * keys, 1, e, s, values, e);
      leaves_.step(false, at_.rows, values, keep, change, k, k, v, at_.w + t * keys, e, s, values,
                   at_.out);
      return;
    }
    float* const differs = at_.read + t * values;
    leaves_.erase(at_.rows, values, keep, change, k, 1, v, s, values, differs);
    std::copy_n(differs, values, e);
    leaves_.scale_rows(1, values, e, values, at_.beta + t);
    leaves_.step(false, at_.rows, values, keep, change, k, k, e, nullptr, nullptr, s, values,
                 at_.out);
  }

  void keep_states(Index slot, Index first, Index tokens) const {
    std::copy_n(call_.before.matrix(slot, head_), numbers(), at_.states);
    for (Index i = 0; i < chunks(tokens); ++i) {
      std::copy_n(at_.states, numbers(), at_.kept + i * numbers());
      if ((i + 1) * chunk >= tokens) return;
      load_tokens(first + i * chunk, chunk);
      for (Index t = 0; t < chunk; ++t) step(t, at_.states);
    }
  }

  void back(Index first, Index n, const float* state) {
    const Index keys = at_.keys, values = at_.values;
    load_tokens(first, n);
    std::copy_n(state, numbers(), at_.states);
    for (Index t = 0; t < n; ++t) {
      float* const next = at_.states + (t + 1) * numbers();
      std::copy_n(next - numbers(), numbers(), next);
      step(t, next);
    }
    load_rows(leaves_, forward_.q, first, n, key_head_, at_.q, keys);
    load_rows(leaves_, call_.d_out, first, n, head_, at_.d_out, values);
    leaves_.fill(chunk, static_cast<float>(of_.query_scale), at_.factors);
    leaves_.scale_rows(n, keys, at_.q, keys, at_.factors);
    if (of_.normaliser)
      for (Index t = 0; t < n; ++t) {
        const float factor = of_.normaliser(of_, head_, seen_ + t, 0);
        leaves_.scale_rows(1, values, at_.d_out + t * values, values, &factor);
      }
    for (float* const rows : {at_.dq, at_.dk, at_.dz, at_.of_log}) leaves_.fill(n * keys, 0, rows);
    leaves_.fill(n * values, 0, at_.dv);
    for (Index t = n; t-- > 0;) of_.removal ? back_removal(t) : back_delta(t);
    leaves_.scale_rows(n, keys, at_.dq, keys, at_.factors);
    add_or_store_rows(call_.q, call_.q_so_far, adds_, first, n, key_head_, at_.dq, keys, at_.row);
    add_or_store_rows(call_.k, call_.k_so_far, adds_, first, n, key_head_, at_.dk, keys, at_.row);
    if (of_.removal)
      add_or_store_rows(call_.removal, call_.removal_so_far, adds_, first, n, key_head_, at_.dz,
                        keys, at_.row);
    const Index beta_row = of_.removal ? keys : 1;
    for (Index t = 0; t < n; ++t) {
      call_.v.store(first + t, head_, at_.dv + t * values);
      call_.beta.store(first + t, head_, at_.of_beta + t * beta_row);
    }
    if (of_.decay != mixers::Decay::none) of_decays(first, n);
  }

  void back_delta(Index t) const {
    const Index keys = at_.keys, values = at_.values;
    const float *const k = at_.k + t * keys, *const before = at_.states + t * numbers();
    float *const dv = at_.dv + t * values, *const dk = at_.dk + t * keys;
    loops_.comes(at_.rows, values, at_.q + t * keys, at_.d_out + t * values, k, at_.e + t * values,
                 nullptr, nullptr, before + numbers(), ds_, at_.dq + t * keys, dk, dv, nullptr,
                 nullptr);
    at_.of_beta[t] = leaves_.dot(values, dv, at_.read + t * values);
    leaves_.scale_rows(1, values, dv, values, at_.beta + t);
    leaves_.fill(values, 0, at_.d_read);
    leaves_.add_scaled(values, -1, dv, at_.d_read);
    loops_.back(false, at_.rows, values, at_.keep + t * keys, at_.change + t * keys, k, at_.d_read,
                before, ds_, dk, at_.of_log + t * keys);
  }
  void back_removal(Index t) const {
    const Index keys = at_.keys, values = at_.values;
    const float *const z = at_.z + t * keys, *const before = at_.states + t * numbers();
    float *const dw = at_.dw + t * keys, *const dz = at_.dz + t * keys;
    leaves_.fill(values, 0, at_.out), leaves_.fill(keys, 0, dw);
    loops_.comes(at_.rows, values, at_.q + t * keys, at_.d_out + t * values, at_.k + t * keys,
                 at_.v + t * values, at_.w + t * keys, at_.e + t * values, before + numbers(), ds_,
                 at_.dq + t * keys, at_.dk + t * keys, at_.dv + t * values, dw, at_.out);
    leaves_.multiply(keys, dw, z, at_.of_beta + t * keys);
    leaves_.multiply(keys, dw, at_.beta + t * keys, dz);
    leaves_.fill(values, 0, at_.d_read);
    leaves_.add_scaled(values, -1, at_.out, at_.d_read);
    loops_.back(true, at_.rows, values, at_.keep + t * keys, at_.change + t * keys, z, at_.d_read,
                before, ds_, dz, at_.of_log + t * keys);
  }

  /// From gradients of log decays by channel to those of what was passed, or of the constants.
  void of_decays(Index first, Index n) const {
    const Index row = decay_row();
    if (row == 1)
      for (Index t = 0; t < n; ++t)
        at_.of_log[t] = leaves_.sum(at_.keys, at_.of_log + t * at_.keys);
    std::fill_n(at_.factors, n, 0.0F);  // factors by which keys are written are 1 here
    store_decay_gradients(call_, head_, first, n, row, at_.passed, at_.of_log, at_.factors, sums_);
  }

  const MixerBackwardCall& call_;
  const MixerCall& forward_;
  const mixers::Recurrence& of_;
  const mixers::Leaves& leaves_;
  const DeltaGradientLeaves& loops_;
  Arena arena_;
  Buffers at_;
  Index head_ = 0, key_head_ = 0;
  Position seen_ = 0;
  bool adds_ = false;
  double* sums_ = nullptr;
  float* ds_ = nullptr;
};

}  // namespace detail

POSENC_NAMESPACE_END
