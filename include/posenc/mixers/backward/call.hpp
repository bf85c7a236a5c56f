// SPDX-License-Identifier: MIT
//
// A checked call of backward(), as its workers share it, and the buffers of one of them.
#pragma once

#include <posenc/mixers/call.hpp>
#include <posenc/mixers/gradients.hpp>

#include <algorithm>
#include <span>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Tokens of a sequence as chunks.
inline Index mixer_chunks(Index tokens) { return (tokens + mixer_chunk - 1) / mixer_chunk; }

/// The sums that are of parameters, of each sequence and head, until all can be added in one order: of the skip, of the
/// rule's two, of constant log decays and of the bonus.
class MixerSumsTable {
 public:
  explicit MixerSumsTable(const mixers::Recurrence& of)
      : heads_(of.shape.heads), decays_(std::ssize(of.log_decay) / of.shape.heads),
        bonus_(of.reads_before() ? of.shape.key_dim : 0) {}

  [[nodiscard]] Index doubles() const { return decays_ + bonus_ + 3; }
  void begin(double* memory, Index sequences) {
    memory_ = memory;
    std::fill_n(memory, sequences * heads_ * doubles(), 0.0);
  }
  [[nodiscard]] double* of(Index sequence, Index head) const {
    return memory_ + (sequence * heads_ + head) * doubles();
  }
  [[nodiscard]] double* log_decay(double* sums) const { return sums + 3; }
  [[nodiscard]] double* bonus(double* sums) const { return sums + 3 + decays_; }

  /// Adds those of all sequences, from the first to the last.
  void add_to(mixers::RecurrenceGradients& to, Index sequences) const {
    const auto add = [&](std::vector<double>& all, Index head, Index width, const double* x) {
      for (Index i = 0; i < (all.empty() ? 0 : width); ++i)
        all[static_cast<std::size_t>(head * width + i)] += x[i];
    };
    for (Index s = 0; s < sequences; ++s)
      for (Index h = 0; h < heads_; ++h) {
        double* const sums = of(s, h);
        add(to.skip, h, 1, sums), add(to.rates, h, 1, sums + 1), add(to.biases, h, 1, sums + 2);
        add(to.log_decay, h, decays_, log_decay(sums));
        add(to.bonus, h, bonus_, bonus(sums));
      }
  }

 private:
  Index heads_, decays_, bonus_;
  double* memory_ = nullptr;
};

struct MixerBackwardCall {
  MixerCall forward;  ///< its state is the gradient's
  const mixers::State& before;
  Rows<float> d_out;
  OutRows<float> q, k, v, decay, beta, removal;
  Rows<float> q_so_far, k_so_far, removal_so_far;  ///< the same memory, to be added to
  MixerSumsTable sums;

  MixerBackwardCall(const mixers::Inputs& in, const mixers::Operand& d_out_,
                    const mixers::State& before_, mixers::State& d_state,
                    const mixers::Gradients& to, const mixers::Mixer& mixer,
                    std::span<const Index> slots)
      : forward(in, {}, mixer, d_state, slots), before(before_), d_out(d_out_.rows(level_index())),
        q(rows(to.q)), k(rows(to.k)), v(rows(to.v)), decay(rows(to.decay)), beta(rows(to.beta)),
        removal(rows(to.removal)), q_so_far(so_far(to.q)), k_so_far(so_far(to.k)),
        removal_so_far(so_far(to.removal)), sums(mixer.recurrence()) {}

 private:
  static OutRows<float> rows(const TensorView<float>& x) {
    return mixers::Result(x).rows(level_index());
  }
  static Rows<float> so_far(const TensorView<float>& x) {
    return mixers::Operand(x).rows(level_index());
  }
};

/// Gradients of some tokens of a head of keys, where the first of the heads that share it stores and others add.
inline void add_or_store_rows(const OutRows<float>& to, const Rows<float>& so_far, bool adds,
                              Index first, Index tokens, Index key_head, const float* rows,
                              Index row, float* buffer) {
  for (Index t = 0; t < tokens; ++t, rows += row) {
    if (!adds) {
      to.store(first + t, key_head, rows);
      continue;
    }
    so_far.load(first + t, key_head, buffer);
    for (Index c = 0; c < so_far.width; ++c) buffer[c] += rows[c];
    to.store(first + t, key_head, buffer);
  }
}

/// From gradients of log decays of some tokens, `row` apart, to those of what was passed, or to the sums of the
/// constants. `of_write` is the gradient of the factors by which keys are written; `passed` is a buffer.
inline void store_decay_gradients(const MixerBackwardCall& call, Index head, Index first,
                                  Index tokens, Index row, float* passed, float* of_log,
                                  const float* of_write, double* sums) {
  const mixers::Recurrence& of = call.forward.of();
  if (!of.decays_by_token()) {
    double* const constant = call.sums.log_decay(sums);
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < of.decay_width(); ++c)
        constant[c] += static_cast<double>(of_log[t * row + c]);
    return;
  }
  if (of.rule) {
    load_rows(call.forward.leaves, call.forward.decay, first, tokens, head, passed, row);
    mixers::RuleSums of_rule;
    of.rule_gradient(of, head, tokens, row, passed, of_log, of_write, of_rule);
    sums[1] += of_rule.rate, sums[2] += of_rule.bias;
  }
  for (Index t = 0; t < tokens; ++t) call.decay.store(first + t, head, of_log + t * row);
}

/// Buffers of a worker beside those of the forward pass; rows as there.
struct MixerBackwardBuffers {
  Index keys, values;
  float *d_out, *dv;         ///< [chunk][values]
  float *dw, *dq, *dk;       ///< [chunk][chunk], [chunk][keys]
  float *of_state, *to_end;  ///< what comes to dq of the state before, to dk of the one behind
  float *k_to, *k_since, *q_until;  ///< keys and queries that decay on their way
  float *passed, *of_log;           ///< decays as they were passed; gradients of log decays
  float* v_across;                  ///< [values][chunk]
  float *s, *ds;                    ///< [keys][values]
  float* ds_across;                 ///< [values][keys]
  float *z, *dz, *through;          ///< [keys]
  float *own, *next, *no_own, *of_write, *of_sum;  ///< [chunk]
  float* ones;                                     ///< [16][keys], at least [values]
  float* states;  ///< [chunks][values + 1][keys], across, with the sum

  MixerBackwardBuffers(const mixers::Mixer& mixer, Index chunks, Arena& arena)
      : keys(round_up(mixer.shape().key_dim, 16)), values(round_up(mixer.shape().value_dim, 16)) {
    take(arena, mixer_chunk, values, d_out, dv);
    take(arena, mixer_chunk, mixer_chunk, dw);
    take(arena, mixer_chunk, keys, dq, dk, of_state, to_end, k_to, k_since, q_until);
    take(arena, mixer_chunk, keys, passed, of_log);
    take(arena, values, mixer_chunk, v_across);
    take(arena, keys, values, s, ds);
    take(arena, values, keys, ds_across);
    take(arena, 1, keys, z, dz, through);
    take(arena, 1, mixer_chunk, own, next, no_own, of_write, of_sum);
    take(arena, 1, std::max(mixer_block * keys, values), ones);
    Index rows = 0;
    states = arena.take<float>(multiply(chunks, values + 1, rows) ? rows : Index{1} << 62, keys);
  }
  [[nodiscard]] float* state(Index chunk) const { return states + chunk * (values + 1) * keys; }

 private:
  template <class... Pointers>
  static void take(Arena& arena, Index rows, Index columns, Pointers&... pointers) {
    ((pointers = arena.take<float>(rows, columns)), ...);
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
