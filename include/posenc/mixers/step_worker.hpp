// SPDX-License-Identifier: MIT
//
// One token of a sequence, for one head: the state is read and written once, and that is what a step costs.
#pragma once

#include <posenc/mixers/call.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

class StepWorker {
 public:
  StepWorker(const MixerCall& call, std::byte* memory)
      : call_(call), of_(call.of()), leaves_(call.leaves), arena_(memory), at_(call.mixer, arena_) {
  }

  /// Token `sequence` of the tensors.
  void run(Index sequence, Index head) {
    const Index slot = call_.slot(sequence), key_head = call_.key_head(head), keys = at_.keys;
    if (sequence != sequence_ || key_head != key_head_) {
      load_rows(leaves_, call_.q, sequence, 1, key_head, at_.q, keys);
      load_rows(leaves_, call_.k, sequence, 1, key_head, at_.k, keys);
      const auto scale = static_cast<float>(of_.query_scale);
      if (scale != 1) leaves_.scale_rows(1, keys, at_.q, keys, &scale);
      sequence_ = sequence, key_head_ = key_head;
    }
    load_rows(leaves_, call_.v, sequence, 1, head, at_.v, at_.values);
    const float* k = at_.k;
    decays(sequence, head);
    if (at_.write[0] != 1) {
      std::copy_n(at_.k, keys, at_.k_to);
      leaves_.scale_rows(1, keys, at_.k_to, keys, at_.write);
      k = at_.k_to;
    }
    leaves_.step(of_.reads_before(), call_.shape().key_dim, at_.values, at_.keep, at_.change, at_.q,
                 k, at_.v, call_.state.matrix(slot, head), at_.values, at_.out);
    float own = of_.skip.empty() ? 0 : of_.skip[static_cast<std::size_t>(head)];
    if (of_.reads_before()) {
      load_bonus(of_, head, at_.decay, keys);
      own += leaves_.dot3(keys, at_.q, at_.decay, k);
    }
    if (own != 0) leaves_.add_scaled(at_.values, own, at_.v, at_.out);
    float sum = 0;
    if (of_.keeps_sum) {
      float* const z = call_.state.sum(slot, head);
      for (Index c = 0; c < keys; ++c) z[c] = at_.keep[c] * z[c] + (at_.change[c] * z[c] + k[c]);
      sum = leaves_.dot(keys, at_.q, z);
    }
    if (of_.normaliser) {
      const float factor = of_.normaliser(of_, head, call_.state.tokens(slot), sum);
      leaves_.scale_rows(1, at_.values, at_.out, at_.values, &factor);
    }
    call_.out.store(sequence, head, at_.out);
  }

 private:
  /// The decay of each channel, in two parts.
  void decays(Index sequence, Index head) {
    const Index keys = at_.keys, width = of_.decay_width();
    at_.write[0] = 1;
    if (of_.decay == mixers::Decay::none) {
      std::fill_n(at_.keep, keys, 1.0F);
      std::fill_n(at_.change, keys, 0.0F);
      return;
    }
    if (of_.decays_by_token()) {
      const Index row = width == 1 ? 1 : keys;
      std::fill_n(at_.decay, keys, 0.0F);
      load_decays(call_, sequence, 1, head, at_.decay, row, at_.write);
      leaves_.decay_parts(round_up(row, 16), at_.decay, at_.keep, at_.change);
    } else {
      std::copy_n(call_.mixer.keep(head), width, at_.keep);
      std::copy_n(call_.mixer.change(head), width, at_.change);
    }
    const bool all = width == 1;  // channels have the decay of the head; those of the padding none
    std::fill(at_.keep + width, at_.keep + keys, all ? at_.keep[0] : 1);
    std::fill(at_.change + width, at_.change + keys, all ? at_.change[0] : 0);
  }

  const MixerCall& call_;
  const mixers::Recurrence& of_;
  const mixers::Leaves& leaves_;
  Arena arena_;
  MixerBuffers at_;
  Index sequence_ = -1, key_head_ = -1;
};

}  // namespace detail

POSENC_NAMESPACE_END
