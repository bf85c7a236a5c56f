// SPDX-License-Identifier: MIT
//
// The definition of a mixer, in double:
//
//   o_t = sum over m <= t of (q_t o exp(g_{m+1} + ... + g_t)) . k_m  v_m  +  (q_t o exp(g_0 + ... + g_t))^T S
//
// with g the log decays, up to g_{t-1} and with u in place of the exponential for m = t where tokens read the state
// before them. With the delta rule v_m is what token m writes, computed first; with a removal vector there is a second sum
// of the same kind, over what is erased. No chunk, no state from token to token, no product that is shared: T^2 terms,
// each as it is written.
#pragma once

#include <posenc/mixers/call.hpp>
#include <posenc/mixers/checks.hpp>

#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

class ParallelHead {
 public:
  ParallelHead(const MixerCall& call, Index head)
      : call_(call), head_(head), tokens_(call.v.tokens), keys_(call.shape().key_dim),
        values_(call.shape().value_dim),
        channels_(call.of().decay == mixers::Decay::channel ? keys_ : 1) {
    q_ = rows(call.q, call.key_head(head));
    written_.push_back({rows(call.k, call.key_head(head)), rows(call.v, head)});
    log_decays();
    if (call.of().removal) {
      removal_ = rows(call.removal, call.key_head(head));
      written_.push_back(
          {rows(call.beta, head), std::vector<double>(size(tokens_ * values_), 0.0)});
      for (Index i = 0; i < tokens_ * keys_; ++i) written_[1].k[size(i)] *= removal_[size(i)];
    }
    for (double& x : q_) x *= call.of().query_scale;
  }

  void run(Index slot) {
    const mixers::Recurrence& of = call_.of();
    State state(call_.state, slot, head_);
    // sums_[m] and since_: log decays from token m, and from before the first, to where the sequence is.
    std::vector<double> out(size(values_)), since(size(channels_), 0.0),
        sums(size(tokens_ * channels_), 0.0);
    std::vector<float> row(size(values_));
    const bool before = of.reads_before();
    for (Index t = 0; t < tokens_; ++t) {
      if (of.removal) read(-1, &removal_[size(t * keys_)], t, state, since, sums, value(1, t));
      if (!before) pass(t, since, sums);
      if (of.delta && !of.removal) write_difference(t, state, since, sums);
      double sum = 0;
      std::fill(out.begin(), out.end(), 0.0);
      for (Index m = 0; m <= t; ++m) {
        const double w = m < t || !before
                             ? weight(0, &q_[size(t * keys_)], m, &sums[size(m * channels_)])
                             : own(t);
        sum += w;
        add(w + (m == t && !of.skip.empty() ? of.skip[size(head_)] : 0), value(0, m), out.data());
        if (of.removal)
          add(weight(1, &q_[size(t * keys_)], m, &sums[size(m * channels_)]), value(1, m),
              out.data());
      }
      for (Index c = 0; c < keys_; ++c) {
        const double q = q_[size(t * keys_ + c)] * std::exp(since[size(c % channels_)]);
        for (Index j = 0; j < values_; ++j) out[size(j)] += q * state.matrix[c * state.row + j];
        if (of.keeps_sum) sum += q * state.sum[c];
      }
      const double factor = of.normaliser
                                ? of.normaliser(of, head_, call_.state.tokens(slot) + t,
                                                of.keeps_sum ? static_cast<float>(sum) : 0)
                                : 1;
      for (Index j = 0; j < values_; ++j) row[size(j)] = static_cast<float>(factor * out[size(j)]);
      call_.out.store(t, head_, row.data());
      if (before) pass(t, since, sums);
    }
    advance(state, since, sums);
  }

 private:
  struct State {
    float *matrix, *sum;
    Index row;
    State(mixers::State& of, Index slot, Index head)
        : matrix(of.matrix(slot, head)), sum(of.sum(slot, head)), row(of.row()) {}
  };
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  [[nodiscard]] std::vector<double> rows(const Rows<float>& from, Index head) const {
    std::vector<float> row(size(from.width));
    std::vector<double> all;
    for (Index t = 0; t < tokens_; ++t) {
      from.load(t, head, row.data());
      all.insert(all.end(), row.begin(), row.end());
    }
    return all;
  }

  void log_decays() {
    const Index padded = channels_ == 1 ? 1 : round_up(keys_, 16);
    const Index rows = round_up(tokens_, 16);  // rules go by vectors
    std::vector<float> decay(size(rows * padded)), write(size(rows));
    load_decays(call_, 0, tokens_, head_, decay.data(), padded, write.data());
    for (Index t = 0; t < tokens_; ++t)
      for (Index c = 0; c < channels_; ++c) decay_.push_back(decay[size(t * padded + c)]);
    if (!call_.of().log_decay.empty())
      for (Index i = 0; i < tokens_ * channels_; ++i)
        decay_[size(i)] = call_.of().log_decay[size(head_ * channels_ + i % channels_)];
    for (Index i = 0; i < tokens_ * keys_; ++i) written_[0].k[size(i)] *= write[size(i / keys_)];
  }

  /// Token t decays all that was before it.
  void pass(Index t, std::vector<double>& since, std::vector<double>& sums) const {
    for (Index c = 0; c < channels_; ++c) {
      const double g = decay_[size(t * channels_ + c)];
      since[size(c)] += g;
      for (Index m = 0; m < t; ++m) sums[size(m * channels_ + c)] += g;
    }
  }
  /// The product of x with key m of one of the lists that are written, decayed since.
  [[nodiscard]] double weight(std::size_t list, const double* x, Index m,
                              const double* sums) const {
    const double* const k = &written_[list].k[size(m * keys_)];
    double w = 0;
    if (channels_ == 1) {
      for (Index c = 0; c < keys_; ++c) w += x[c] * k[c];
      return w * std::exp(*sums);
    }
    for (Index c = 0; c < keys_; ++c) w += x[c] * k[c] * std::exp(sums[c]);
    return w;
  }
  double* value(std::size_t list, Index m) { return &written_[list].v[size(m * values_)]; }

  /// Adds to a row sign times what x reads of the tokens before t and of the state before all.
  void read(double sign, const double* x, Index t, const State& state,
            const std::vector<double>& since, const std::vector<double>& sums, double* row) {
    for (std::size_t list = 0; list < written_.size(); ++list)
      for (Index m = 0; m < t; ++m)
        add(sign * weight(list, x, m, &sums[size(m * channels_)]), value(list, m), row);
    for (Index c = 0; c < keys_; ++c) {
      const double w = sign * x[c] * std::exp(since[size(c % channels_)]);
      for (Index j = 0; j < values_; ++j)
        row[j] += w * static_cast<double>(state.matrix[c * state.row + j]);
    }
  }
  /// The delta rule: v_t becomes beta_t times what it differs by from what k_t reads.
  void write_difference(Index t, const State& state, const std::vector<double>& since,
                        const std::vector<double>& sums) {
    float beta = 0;
    call_.beta.load(t, head_, &beta);
    double* const v = value(0, t);
    read(-1, &written_[0].k[size(t * keys_)], t, state, since, sums, v);
    for (Index j = 0; j < values_; ++j) v[j] *= static_cast<double>(beta);
  }
  [[nodiscard]] double own(Index t) const {
    double w = 0;
    for (Index c = 0; c < keys_; ++c)
      w += q_[size(t * keys_ + c)] * written_[0].k[size(t * keys_ + c)] *
           call_.of().bonus[size(head_ * keys_ + c)];
    return w;
  }
  void add(double w, const double* v, double* out) const {
    for (Index j = 0; j < values_; ++j) out[j] += w * v[j];
  }

  /// S = exp(all g) S + sum of exp(g after m) k_m v_m^T
  void advance(const State& state, const std::vector<double>& since,
               const std::vector<double>& sums) {
    std::vector<double> row(size(values_));
    for (Index c = 0; c < keys_; ++c) {
      const double decay = std::exp(since[size(c % channels_)]);
      double sum = call_.of().keeps_sum ? decay * state.sum[c] : 0;
      for (Index j = 0; j < values_; ++j) row[size(j)] = decay * state.matrix[c * state.row + j];
      for (std::size_t list = 0; list < written_.size(); ++list)
        for (Index m = 0; m < tokens_; ++m) {
          const double k = written_[list].k[size(m * keys_ + c)] *
                           std::exp(sums[size(m * channels_ + c % channels_)]);
          sum += k;
          add(k, value(list, m), row.data());
        }
      for (Index j = 0; j < values_; ++j)
        state.matrix[c * state.row + j] = static_cast<float>(row[size(j)]);
      if (call_.of().keeps_sum) state.sum[c] = static_cast<float>(sum);
    }
  }

  const MixerCall& call_;
  Index head_, tokens_, keys_, values_, channels_;  ///< channels of the decay
  struct Written {
    std::vector<double> k, v;
  };
  std::vector<Written> written_;  ///< keys with values, and what is erased
  std::vector<double> q_, removal_, decay_;
};

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS void parallel(const Inputs& in, const Result& out, const Mixer& mixer,
                                   State& state) {
  Problems problems;
  posenc::detail::check_mixer_call(problems, in, out, mixer, state, 1, {});
  problems.raise_if_any("posenc::mixers::parallel");
  const posenc::detail::MixerCall call(in, out, mixer, state, {});
  for (Index h = 0; h < mixer.shape().heads; ++h) posenc::detail::ParallelHead(call, h).run(0);
  state.set_tokens(0, state.tokens() + in.v.tokens());
}

}  // namespace mixers

POSENC_NAMESPACE_END
