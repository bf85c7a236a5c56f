// SPDX-License-Identifier: MIT
//
// A checked call of a mixer, as its workers share it.
#pragma once

#include <posenc/core/arena.hpp>
#include <posenc/mixers/leaves.hpp>
#include <posenc/mixers/state.hpp>
#include <posenc/mixers/tensors.hpp>

#include <algorithm>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Tokens of a chunk, and of a block within it where decays go by channel.
inline constexpr Index mixer_chunk = 64, mixer_block = 16;

struct MixerCall {
  Rows<float> q, k, v, decay, beta, removal;
  OutRows<float> out;
  const mixers::Mixer& mixer;
  mixers::State& state;
  const mixers::Leaves& leaves;
  std::span<const Index> slots{};

  MixerCall(const mixers::Inputs& in, const mixers::Result& result, const mixers::Mixer& mixer_,
            mixers::State& state_, std::span<const Index> slots_)
      : MixerCall(in, result, mixer_, state_, slots_, level_index()) {}

  [[nodiscard]] const mixers::Recurrence& of() const { return mixer.recurrence(); }
  [[nodiscard]] const mixers::Shape& shape() const { return mixer.shape(); }
  [[nodiscard]] Index slot(Index sequence) const {
    return slots.empty() ? sequence : slots[static_cast<std::size_t>(sequence)];
  }
  [[nodiscard]] Index key_head(Index head) const {
    const bool one_each =
        shape().heads == shape().key_heads;  // most have; divisions take their time
    return one_each ? head : head / (shape().heads / shape().key_heads);
  }

 private:
  MixerCall(const mixers::Inputs& in, const mixers::Result& result, const mixers::Mixer& mixer_,
            mixers::State& state_, std::span<const Index> slots_, std::size_t level)
      : q(in.q.rows(level)), k(in.k.rows(level)), v(in.v.rows(level)), decay(in.decay.rows(level)),
        beta(in.beta.rows(level)), removal(in.removal.rows(level)), out(result.rows(level)),
        mixer(mixer_), state(state_), leaves(mixers::leaves()), slots(slots_) {}
};

/// The numbers of some tokens of one head as they are computed with, and the buffers of one worker. Rows are padded
/// with zeros to a multiple of 16 numbers.
struct MixerBuffers {
  Index keys, values;      ///< floats of a row
  float *q, *k;            ///< [chunk][keys]
  float* k_across;         ///< [keys][chunk]
  float *decay, *decays;   ///< log decays, [chunk][keys] or [chunk], and their exponentials
  float *q_from, *k_from;  ///< queries, and keys that read, decayed from the start; [chunk][keys]
  float* k_to;             ///< [block][keys], and a row more
  float *v, *out;          ///< [chunk][values]
  float *scores, *w;       ///< [chunk][chunk]
  float *k_scores, *k_w;   ///< of what reads by the delta rule
  float *removal, *erased, *erased_across,
      *u;                            ///< with a removal vector: z, beta o z, what it reads
  float *erased_w, *k_erased_w;      ///< weights of what is erased; [chunk][chunk]
  float *keep, *change;              ///< [keys]; decays in two parts
  float *write, *own, *sums, *beta;  ///< [chunk]
  float *to_end, *from_start, *ones;

  MixerBuffers(const mixers::Mixer& mixer, Arena& arena)
      : keys(round_up(mixer.shape().key_dim, 16)), values(round_up(mixer.shape().value_dim, 16)) {
    take(arena, mixer_chunk * keys, q, k, k_across, decay, decays, q_from, k_from, k_to);
    take(arena, mixer_chunk * values, v, out);
    take(arena, mixer_chunk * mixer_chunk, scores, w, k_scores, k_w);
    take(arena, keys, keep, change);
    take(arena, mixer_chunk, write, own, sums, beta, to_end, from_start, ones);
    const Index more = mixer.recurrence().removal ? mixer_chunk : 0;
    take(arena, more * keys, removal, erased, erased_across);
    take(arena, more * values, u);
    take(arena, more * mixer_chunk, erased_w, k_erased_w);
  }

 private:
  template <class... Pointers>
  static void take(Arena& arena, Index floats, Pointers&... pointers) {
    float* at = arena.take<float>(sizeof...(pointers), floats);
    const auto next = [&] { return at ? std::exchange(at, at + floats) : nullptr; };
    ((pointers = next()), ...);
  }
};

/// The rows of some channels.
template <class R>
R channels_of(R rows, Index first, Index count) {
  if (rows.storage) rows.data += first * rows.channel_stride * rows.storage->bytes;
  rows.width = count;
  return rows;
}

/// Tokens [first, first + tokens) of a head as rows of floats, padded with zeros.
inline void load_rows(const mixers::Leaves& leaves, const Rows<float>& from, Index first,
                      Index tokens, Index head, float* to, Index row) {
  if (from.is_plain() && row == 1) {  // a number for each token
    for (Index t = 0; t < tokens; ++t) to[t] = *from.plain_row(first + t, head);
    return;
  }
  if (from.is_plain())
    return leaves.copy_rows(tokens, from.width, from.plain_row(first, head), from.token_stride, to,
                            row);
  for (Index t = 0; t < tokens; ++t) {
    from.load(first + t, head, to + t * row);
    std::fill(to + t * row + from.width, to + (t + 1) * row, 0.0F);
  }
}

/// Log decays of some tokens of a head, `row` numbers apart, and the factors by which keys are written.
inline void load_decays(const MixerCall& call, Index first, Index tokens, Index head, float* decay,
                        Index row, float* write) {
  const mixers::Recurrence& of = call.of();
  std::fill_n(write, round_up(tokens, 16), 1.0F);
  if (of.decay == mixers::Decay::none) return;
  const Index width = of.decay_width();
  if (of.decays_by_token()) {
    load_rows(call.leaves, call.decay, first, tokens, head, decay, row);
    if (of.rule) of.rule(of, head, tokens, row, decay, write);
    return;
  }
  // Constant decays are one row for all channels, and one number for each token.
  const float* const constant = call.mixer.log_decays(head);
  if (row == 1) return static_cast<void>(std::fill_n(decay, tokens, *constant));
  std::copy_n(constant, width, decay);
  std::fill(decay + width, decay + row, 0.0F);
}

}  // namespace detail

POSENC_NAMESPACE_END
