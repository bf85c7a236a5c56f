// SPDX-License-Identifier: MIT
//
// One token of a sequence, for one head: the state is read and written once, and that is what a step costs.
#pragma once

#include <posenc/mixers/call.hpp>

#include <utility>

POSENC_NAMESPACE_BEGIN

namespace detail {

class StepWorker {
 public:
  StepWorker(const MixerCall& call, std::byte* memory)
      : call_(call), of_(call.of()), leaves_(call.leaves),
        keys_(round_up(call.shape().key_dim, 16)), values_(round_up(call.shape().value_dim, 16)) {
    float* at = reinterpret_cast<float*>(memory);  // a worker of chunks has 64 rows of each
    for (float** const row :
         {&q_, &k_, &k_write_, &decay_, &keep_, &change_, &removal_, &erased_, &scale_})
      *row = std::exchange(at, at + keys_);
    for (float** const row : {&v_, &out_, &u_}) *row = std::exchange(at, at + values_);
    if (of_.query_scale != 1) leaves_.fill(keys_, static_cast<float>(of_.query_scale), scale_);
  }

  /// Token `sequence` of the tensors.
  void run(Index sequence, Index head) {
    const Index slot = call_.slot(sequence), key_head = call_.key_head(head);
    if (sequence != sequence_ || key_head != key_head_) {
      q_at_ = row_of(call_.q, sequence, key_head, q_, keys_);
      k_at_ = row_of(call_.k, sequence, key_head, k_, keys_);
      if (of_.query_scale != 1) {
        leaves_.multiply(keys_, q_at_, scale_, q_);
        q_at_ = q_;
      }
      sequence_ = sequence, key_head_ = key_head;
    }
    const float* v = row_of(call_.v, sequence, head, v_, values_);
    const bool in_place = call_.out.is_plain() && call_.out.width == values_;
    float* const out = in_place ? reinterpret_cast<float*>(call_.out.row(sequence, head)) : out_;
    const float *k = k_at_, *keep = keep_, *change = change_;
    if (of_.decays_by_token()) {
      k = decays(sequence, head);
    } else {
      keep = call_.mixer.keep(head);
      change = call_.mixer.change(head);
    }
    float* const s = call_.state.matrix(slot, head);
    const float* erased = nullptr;
    if (of_.removal) {
      erased = erase(sequence, head, s);
    } else if (of_.delta) {
      float beta = 0;
      call_.beta.load(sequence, head, &beta);
      leaves_.erase(call_.shape().key_dim, values_, keep, change, k, beta, v, s, values_, v_);
      v = v_;
    }
    leaves_.step(of_.reads_before(), call_.shape().key_dim, values_, keep, change, q_at_, k, v,
                 erased, u_, s, values_, out);
    float own = of_.skip.empty() ? 0 : of_.skip[static_cast<std::size_t>(head)];
    if (of_.reads_before()) own += leaves_.dot3(keys_, q_at_, call_.mixer.bonus(head), k);
    if (own != 0) leaves_.add_scaled(values_, own, v, out);
    float sum = 0;
    if (of_.keeps_sum) {
      float* const z = call_.state.sum(slot, head);
      for (Index c = 0; c < keys_; ++c) z[c] = keep[c] * z[c] + (change[c] * z[c] + k[c]);
      sum = leaves_.dot(keys_, q_at_, z);
    }
    if (of_.normaliser) {
      const float factor = of_.normaliser(of_, head, call_.state.tokens(slot), sum);
      leaves_.scale_rows(1, values_, out, values_, &factor);
    }
    if (!in_place) call_.out.store(sequence, head, out);
  }

 private:
  /// A row where it lies, or a copy that is padded.
  const float* row_of(const Rows<float>& from, Index token, Index head, float* copy,
                      Index row) const {
    if (from.is_plain() && from.width == row) return from.plain_row(token, head);
    load_rows(leaves_, from, token, 1, head, copy, row);
    return copy;
  }

  /// The decay of each channel, in two parts; returns the key as it is written.
  const float* decays(Index sequence, Index head) {
    float write[16];
    if (of_.decay == mixers::Decay::channel) {
      load_decays(call_, sequence, 1, head, decay_, keys_, write);
      leaves_.decay_parts(keys_, decay_, keep_, change_);
    } else {
      leaves_.fill(16, 0, decay_);
      load_decays(call_, sequence, 1, head, decay_, 1, write);
      leaves_.decay_parts(16, decay_, decay_, change_);
      leaves_.fill(keys_, decay_[0], keep_);
      leaves_.fill(keys_, change_[0], change_);
    }
    if (write[0] == 1) return k_at_;
    leaves_.fill(keys_, write[0], k_write_);
    leaves_.multiply(keys_, k_at_, k_write_, k_write_);
    return k_write_;
  }

  /// What a removal vector reads, negative, becomes u; returns that which is written with it.
  const float* erase(Index sequence, Index head, const float* s) {
    const float* const removal =
        row_of(call_.removal, sequence, call_.key_head(head), removal_, keys_);
    load_rows(leaves_, call_.beta, sequence, 1, head, erased_, keys_);
    leaves_.multiply(keys_, erased_, removal, erased_);
    leaves_.fill(values_, 0, u_);
    leaves_.erase(call_.shape().key_dim, values_, nullptr, nullptr, removal, 1, u_, s, values_, u_);
    return erased_;
  }

  const MixerCall& call_;
  const mixers::Recurrence& of_;
  const mixers::Leaves& leaves_;
  Index keys_, values_;
  float *q_, *k_, *k_write_, *decay_, *keep_, *change_, *removal_, *erased_, *scale_;
  float *v_, *out_, *u_;
  const float *q_at_ = nullptr, *k_at_ = nullptr;
  Index sequence_ = -1, key_head_ = -1;
};

}  // namespace detail

POSENC_NAMESPACE_END
