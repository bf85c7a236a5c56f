// SPDX-License-Identifier: MIT
//
// A chunk of tokens of Mamba-3, for all heads: keys and queries are made and turned, the frame of mamba3.hpp is run on
// them, and what tokens are for themselves is added.
#pragma once

#include <posenc/executor/chunks.hpp>
#include <posenc/mixers/call.hpp>
#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/mamba3_state.hpp>
#include <posenc/rotate/angles_view.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Of a chunk; rows of heads, without padding.
struct Mamba3Buffers {
  float *q, *k, *k_before, *x_before, *out;  ///< [chunk][heads][d_state] or [headdim]
  float *decay, *own;                        ///< [chunk][heads]
  double* angles;                            ///< [chunk][heads][pairs]
  std::byte* of_mixer;

  Mamba3Buffers(const mixers::Mamba3& of, Index bytes_of_mixer, Arena& arena) {
    const Index rows = mixer_chunk * of.nheads;
    for (float** const numbers : {&q, &k, &k_before})
      *numbers = arena.take<float>(rows, of.d_state);
    for (float** const numbers : {&x_before, &out}) *numbers = arena.take<float>(rows, of.headdim);
    for (float** const numbers : {&decay, &own}) *numbers = arena.take<float>(rows, 1);
    angles = arena.take<double>(rows, of.pairs());
    of_mixer = arena.take<std::byte>(1, bytes_of_mixer);
  }
};

/// Negative when it does not fit in memory.
inline Index mamba3_workspace(const mixers::TrapezoidalScan& of, const AnyExecutor& executor) {
  Arena arena(nullptr);
  static_cast<void>(Mamba3Buffers(
      of.parameters(), static_cast<Index>(mixers::workspace_bytes(of.mixer(), executor)), arena));
  return arena.used();
}

POSENC_DETAIL_COLD inline void check_mamba3_call(Problems& problems, const mixers::Mamba3Inputs& in,
                                                 const mixers::Result& out,
                                                 const mixers::TrapezoidalScan& of,
                                                 const mixers::Mamba3State& state, Index sequences,
                                                 const mixers::Options& options) {
  const mixers::Mamba3& its = of.parameters();
  const Index tokens = in.x.tokens();
  check_tensor(problems, "x", in.x, tokens, its.nheads, its.headdim);
  check_tensor(problems, "B", in.B, tokens, its.ngroups, its.d_state);
  check_tensor(problems, "C", in.C, tokens, its.ngroups, its.d_state);
  check_tensor(problems, "dt", in.dt, tokens, its.nheads, 1);
  check_tensor(problems, "decay", in.decay, tokens, its.nheads, 1);
  check_tensor(problems, "trap", in.trap, tokens, its.nheads, 1);
  check_tensor(problems, "angles", in.angles, tokens, in.angles.heads() == 1 ? 1 : its.nheads,
               its.pairs());
  if (in.z.is_given()) check_tensor(problems, "z", in.z, tokens, its.nheads, its.headdim);
  check_tensor(problems, "out", out, tokens, its.nheads, its.headdim);
  if (problems.empty())
    check_apart(problems, "out", out,
                {{"x", &in.x},
                 {"B", &in.B},
                 {"C", &in.C},
                 {"dt", &in.dt},
                 {"decay", &in.decay},
                 {"trap", &in.trap},
                 {"angles", &in.angles},
                 {"z", &in.z}});
  problems.require(state.matrices().shape() == of.mixer().shape(), "the state is of ",
                   state.matrices().shape().heads, " heads of [", state.matrices().shape().key_dim,
                   ", ", state.matrices().shape().value_dim, "] but ", mixers::Mamba3::name,
                   " has ", its.nheads, " heads of [", its.d_state, ", ", its.headdim, "].");
  check_slots(problems, state.matrices(), sequences, options.slots);
  check_workspace(problems, options.workspace, mamba3_workspace(of, options.executor));
}

class Mamba3Worker {
 public:
  Mamba3Worker(const mixers::Mamba3Inputs& in, const mixers::Result& out,
               const mixers::TrapezoidalScan& of, mixers::Mamba3State& state,
               const mixers::Options& options)
      : of_(of.parameters()), mixer_(of.mixer()), state_(state), options_(options),
        workspace_(options.workspace, mamba3_workspace(of, options.executor)),
        bytes_of_mixer_(mixers::workspace_bytes(of.mixer(), options.executor)),
        arena_(workspace_.data()), at_(of_, static_cast<Index>(bytes_of_mixer_), arena_),
        x_(rows(in.x)), b_(rows(in.B)), c_(rows(in.C)), dt_(rows(in.dt)), decay_(rows(in.decay)),
        trap_(rows(in.trap)), angles_(rows(in.angles)), z_(rows(in.z)),
        out_(out.rows(level_index())) {}

  /// Tokens [first, first + tokens) continue a sequence.
  void run(Index sequence, Index first, Index tokens) {
    const Index slot =
        options_.slots.empty() ? sequence : options_.slots[static_cast<std::size_t>(sequence)];
    for (Index done = 0; done < tokens; done += mixer_chunk)
      chunk(slot, first + done, std::min(mixer_chunk, tokens - done));
  }

 private:
  static Rows<float> rows(const mixers::Operand& x) { return x.rows(level_index()); }
  [[nodiscard]] static float number(const Rows<float>& from, Index token, Index head) {
    float x = 0;
    from.load(token, head, &x);
    return x;
  }
  template <class T>
  TensorView<T> view(T* data, Index tokens, Index width) const {
    return {data, tokens, of_.nheads, width};
  }

  void chunk(Index slot, Index first, Index n) {
    mixers::Mamba3State::Last& last = state_.last(slot);
    for_heads(n, [&](Index h) { load_head(first, n, h); });
    if (const Index pairs = of_.pairs(); pairs > 0) {
      last.theta.add(view<const double>(at_.angles, n, pairs), view(at_.angles, n, pairs));
      const AnglesView<Interleaved> by(view<const double>(at_.angles, n, pairs));
      rotate(view(at_.q, n, of_.d_state), by, options_.executor);
      rotate(view(at_.k, n, of_.d_state), by, options_.executor);
    }
    for_heads(n, [&](Index h) { shift_head(last, first, n, h); });
    const std::array<Index, 1> slots{slot};
    const mixers::Options options{.executor = options_.executor,
                                  .workspace = {at_.of_mixer, bytes_of_mixer_},
                                  .slots = slots};
    const mixers::Inputs in{.q = view<const float>(at_.q, n, of_.d_state),
                            .k = view<const float>(at_.k_before, n, of_.d_state),
                            .v = view<const float>(at_.x_before, n, of_.headdim),
                            .decay = view<const float>(at_.decay, n, 1)};
    const TensorView<float> out = view(at_.out, n, of_.headdim);
    n == 1 ? mixers::step(in, out, mixer_, state_.matrices(), options)
           : mixers::chunked(in, out, mixer_, state_.matrices(), options);
    for_heads(n, [&](Index h) { finish_head(first, n, h); });
  }

  /// Calls f(head) for all heads, in parallel.
  template <class F>
  void for_heads(Index tokens, const F& f) {
    constexpr Index worth_a_thread = Index{1} << 14;  // numbers
    for_chunks(options_.executor, of_.nheads, worth_a_thread / (tokens * of_.d_state) + 1,
               [&](Index head, Index last) {
                 for (; head < last; ++head) f(head);
               });
  }

  /// Queries and keys before they turn, and by what they turn.
  void load_head(Index first, Index n, Index h) {
    const Index N = of_.d_state, pairs = of_.pairs(), group = h / (of_.nheads / of_.ngroups);
    const auto load = [&](const Rows<float>& from, Index t, const std::vector<float>& bias,
                          float* to) {
      from.load(first + t, group, to);
      for (Index c = 0; c < N && !bias.empty(); ++c)
        to[c] += bias[static_cast<std::size_t>(h * N + c)];
    };
    for (Index t = 0; t < n; ++t) {
      const Index row = t * of_.nheads + h;
      load(c_, t, of_.C_bias, at_.q + row * N);
      load(b_, t, of_.B_bias, at_.k + row * N);
      if (pairs == 0) continue;
      float* const raw = at_.k_before + row * N;  // free until keys are shifted; pairs <= N / 2
      angles_.load(first + t, angles_.heads == 1 ? 0 : h, raw);
      const double by = std::numbers::pi * static_cast<double>(number(dt_, first + t, h));
      for (Index i = 0; i < pairs; ++i)
        at_.angles[row * pairs + i] = std::tanh(static_cast<double>(raw[i])) * by;
    }
  }

  /// Every token gets the key, value and decay of the one before it.
  void shift_head(mixers::Mamba3State::Last& last, Index first, Index n, Index h) {
    const Index N = of_.d_state, P = of_.headdim;
    float *const k_last = last.k.data() + h * N, *const x_last = last.x.data() + h * P;
    float &gamma = last.gamma[static_cast<std::size_t>(h)],
          &log_alpha = last.log_alpha[static_cast<std::size_t>(h)];
    for (Index t = 0; t < n; ++t) {
      const Index row = t * of_.nheads + h;
      const float dt = number(dt_, first + t, h), trap = number(trap_, first + t, h),
                  later = dt / (1 + std::exp(trap)), write = gamma + later;  // Delta (1 - lambda)
      float *const q = at_.q + row * N, *const k = at_.k + row * N;
      for (Index c = 0; c < N; ++c) at_.k_before[row * N + c] = write * k_last[c];
      std::copy_n(x_last, P, at_.x_before + row * P);
      at_.decay[row] = log_alpha;

      gamma = dt / (1 + std::exp(-trap));
      log_alpha = number(decay_, first + t, h);
      float own = 0;
      for (Index c = 0; c < N; ++c) own += q[c] * k[c];
      at_.own[row] = gamma * own + (of_.D.empty() ? 0 : of_.D[static_cast<std::size_t>(h)]);
      const float alpha = std::exp(log_alpha);
      for (Index c = 0; c < N; ++c) q[c] *= alpha;
      std::copy_n(k, N, k_last);
      x_.load(first + t, h, x_last);
    }
  }

  /// What tokens are for themselves, and the gate.
  void finish_head(Index first, Index n, Index h) {
    const Index P = of_.headdim;
    for (Index t = 0; t < n; ++t) {
      const Index row = t * of_.nheads + h;
      float *const out = at_.out + row * P, *const x = at_.x_before + row * P;
      x_.load(first + t, h, x);
      for (Index j = 0; j < P; ++j) out[j] += at_.own[row] * x[j];
      if (z_.storage) {
        z_.load(first + t, h, x);
        for (Index j = 0; j < P; ++j) out[j] *= x[j] / (1 + std::exp(-x[j]));
      }
      out_.store(first + t, h, out);
    }
  }

  const mixers::Mamba3& of_;
  const mixers::Mixer& mixer_;
  mixers::Mamba3State& state_;
  const mixers::Options& options_;
  Workspace workspace_;
  std::size_t bytes_of_mixer_;
  Arena arena_;
  Mamba3Buffers at_;
  Rows<float> x_, b_, c_, dt_, decay_, trap_, angles_, z_;
  OutRows<float> out_;
};

}  // namespace detail

POSENC_NAMESPACE_END
