// SPDX-License-Identifier: MIT
//
// A checked call of a mixer, as its workers share it.
#pragma once

#include <posenc/core/arena.hpp>
#include <posenc/mixers/leaves.hpp>
#include <posenc/mixers/state.hpp>
#include <posenc/mixers/tensors.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Tokens of a chunk, and of a block within it where decays go by channel.
inline constexpr Index mixer_chunk = 64, mixer_block = 16;
/// Heads of one task that share a key: the scores of a chunk are computed once for them.
inline constexpr Index mixer_heads = 8;

struct MixerCall {
  Rows<float> q, k, v, decay;
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
    return head / (shape().heads / shape().key_heads);
  }

 private:
  MixerCall(const mixers::Inputs& in, const mixers::Result& result, const mixers::Mixer& mixer_,
            mixers::State& state_, std::span<const Index> slots_, std::size_t level)
      : q(in.q.rows(level)), k(in.k.rows(level)), v(in.v.rows(level)), decay(in.decay.rows(level)),
        out(result.rows(level)), mixer(mixer_), state(state_), leaves(mixers::leaves()),
        slots(slots_) {}
};

/// The numbers of some tokens of one head as they are computed with, and the buffers of one worker. Rows are padded
/// with zeros to a multiple of 16 numbers.
struct MixerBuffers {
  Index keys, values;    ///< floats of a row
  float *q, *k;          ///< [chunk][keys]
  float* k_across;       ///< [keys][chunk]
  float *v, *v_write;    ///< [chunk][values]; as the state takes them
  float* out;            ///< [chunk][values]
  float *scores, *w;     ///< [chunk][chunk]
  float* decay;          ///< log decays, [chunk][keys] or [chunk]
  float* decays;         ///< their exponentials
  float *q_from, *k_to;  ///< [chunk][keys]
  float *keep, *change;  ///< [keys]; decays in two parts
  float *write, *own, *sums, *to_end, *from_start, *ones;  ///< [chunk]

  MixerBuffers(const mixers::Mixer& mixer, Arena& arena)
      : keys(round_up(mixer.shape().key_dim, 16)), values(round_up(mixer.shape().value_dim, 16)) {
    const auto take = [&](auto&... rows) { ((rows = arena.take<float>(mixer_chunk, keys)), ...); };
    take(q, k, k_across, decay, q_from, k_to, decays);
    for (float** const rows : {&v, &v_write, &out}) *rows = arena.take<float>(mixer_chunk, values);
    for (float** const rows : {&scores, &w}) *rows = arena.take<float>(mixer_chunk, mixer_chunk);
    for (float** const row : {&keep, &change}) *row = arena.take<float>(1, keys);
    for (float** const row : {&write, &own, &sums, &to_end, &from_start, &ones})
      *row = arena.take<float>(1, mixer_chunk);
  }
};

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

/// The bonus of a head, padded with zeros.
inline void load_bonus(const mixers::Recurrence& of, Index head, float* to, Index row) {
  const Index width = of.shape.key_dim;
  std::copy_n(of.bonus.data() + head * width, width, to);
  std::fill(to + width, to + row, 0.0F);
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
  for (Index t = 0; t < tokens; ++t) {
    std::copy_n(call.mixer.log_decays(head), width, decay + t * row);
    std::fill(decay + t * row + width, decay + (t + 1) * row, 0.0F);
  }
}

}  // namespace detail

POSENC_NAMESPACE_END
