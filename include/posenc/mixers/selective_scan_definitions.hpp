// SPDX-License-Identifier: MIT
//
// step, scan and parallel of a selective scan: see selective_scan.hpp.
#pragma once

#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/operators_definitions.hpp>
#include <posenc/mixers/scan_checks.hpp>
#include <posenc/mixers/selective_scan.hpp>

#include <atomic>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A checked call.
struct ScanCall {
  Rows<float> u, dt, b, c, z;
  OutRows<float> out;
  const mixers::SelectiveScan& of;
  mixers::State& state;
  const mixers::Leaves& leaves;
  std::span<const Index> slots;

  ScanCall(const mixers::ScanInputs& in, const mixers::Result& result,
           const mixers::SelectiveScan& scan, mixers::State& state_, std::span<const Index> slots_)
      : u(in.u.rows(level_index())), dt(in.dt.rows(level_index())), b(in.B.rows(level_index())),
        c(in.C.rows(level_index())), z(in.z.rows(level_index())), out(result.rows(level_index())),
        of(scan), state(state_), leaves(mixers::leaves()), slots(slots_) {}

  [[nodiscard]] Index slot(Index sequence) const {
    return slots.empty() ? sequence : slots[static_cast<std::size_t>(sequence)];
  }
};

/// One thread: tokens of a sequence, for some blocks of channels.
class ScanWorker {
 public:
  ScanWorker(const ScanCall& call, std::byte* memory)
      : call_(call), arena_(memory), at_(call.of, arena_) {}

  static Index bytes(const mixers::SelectiveScan& of) {
    Arena arena(nullptr);
    static_cast<void>(Buffers(of, arena));
    return arena.used();
  }

  /// Few tokens at a time, of which all channels are computed before the next: B and C of these tokens stay at hand, and
  /// memory is read nearly as it lies.
  void run(Index sequence, Index first, Index tokens, Index block, Index last_block) {
    constexpr Index size = mixers::SelectiveScan::block;
    for (Index done = 0; done < tokens; done += most_tokens) {
      const Index n = std::min(most_tokens, tokens - done);
      load_rows(call_.leaves, call_.b, first + done, n, 0, at_.b, at_.states);
      load_rows(call_.leaves, call_.c, first + done, n, 0, at_.c, at_.states);
      const Index blocks = most_numbers / (n * size);
      for (Index i = block; i < last_block; i += blocks)
        channels(call_.slot(sequence), first + done, n, i, std::min(blocks, last_block - i));
    }
  }

 private:
  /// Numbers of some tokens and channels that are computed before the next: few enough for a first-level cache.
  static constexpr Index most_tokens = 16, most_numbers = 1024;

  struct Buffers {
    Index states;  ///< floats of a row of B and C
    float *u, *dt, *z, *y, *b, *c;

    Buffers(const mixers::SelectiveScan& of, Arena& arena) : states(round_up(of.d_state(), 16)) {
      for (float** const numbers : {&u, &dt, &z, &y}) *numbers = arena.take<float>(1, most_numbers);
      for (float** const rows : {&b, &c}) *rows = arena.take<float>(most_tokens, states);
    }
  };

  void channels(Index slot, Index first, Index tokens, Index block, Index blocks) {
    constexpr Index size = mixers::SelectiveScan::block;
    const Index row = blocks * size, channel = block * size,
                count = std::min(row, call_.of.channels() - channel);
    const mixers::ScanLeaves& leaves = call_.leaves.scan;
    const auto rows = [&](const Rows<float>& from, float* copy) {
      return rows_of(channels_of(from, channel, count), first, tokens, copy, row);
    };
    const Lying dt = rows(call_.dt, at_.dt), u = rows(call_.u, at_.u);
    leaves.prepare(tokens, row, call_.of.softplus(), call_.of.bias() + channel,
                   call_.of.least() + channel, call_.of.skip() + channel, dt.at, dt.row, u.at,
                   u.row, at_.dt, at_.u, at_.y);
    for (Index i = 0; i < blocks; ++i) {
      const Index soon = i * tokens / blocks, later = (i + 1) * tokens / blocks;
      prefetch(first + soon, later - soon, channel + row, row);
      leaves.scan(tokens, call_.of.d_state(), call_.of.rates(block + i),
                  call_.of.least() + channel + i * size, at_.dt + i * size, at_.u + i * size, row,
                  at_.b, at_.c, at_.states, call_.state.matrix(slot, block + i), at_.y + i * size);
    }
    const OutRows<float> out = channels_of(call_.out, channel, count);
    if (call_.z.storage) {
      const Lying z = rows(call_.z, at_.z);
      const bool in_place = out.is_plain() && count == row;
      leaves.gate(tokens, row, at_.y, row, z.at, z.row, at_.u,
                  in_place ? reinterpret_cast<float*>(out.row(first, 0)) : at_.y,
                  in_place ? out.token_stride : row);
      if (in_place) return;
    }
    for (Index t = 0; t < tokens; ++t) out.store(first + t, 0, at_.y + t * row);
  }

  /// Rows of floats, and how far they are apart.
  struct Lying {
    const float* at;
    Index row;
  };
  /// Where they lie, or a copy that is padded.
  Lying rows_of(const Rows<float>& from, Index first, Index tokens, float* copy, Index row) const {
    if (from.is_plain() && from.width == row) return {from.plain_row(first, 0), from.token_stride};
    load_rows(call_.leaves, from, first, tokens, 0, copy, row);
    return {copy, row};
  }

  /// Asks for what the next channels of some tokens read and write: rows lie a token apart, which no processor foresees.
  /// A few at a time: all at once would be waited for.
  void prefetch(Index first, Index tokens, Index channel, Index channels) const {
    const Index count = std::min(channels, call_.of.channels() - channel);
    if (count <= 0) return;
    for (const Rows<float>* const rows : {&call_.u, &call_.dt, &call_.z})
      if (rows->storage) prefetch_rows(channels_of(*rows, channel, count), first, tokens, 0);
    prefetch_rows<true>(channels_of(call_.out, channel, count), first, tokens, 0);
  }

  const ScanCall& call_;
  Arena arena_;
  Buffers at_;
};

inline Index scan_workspace(const mixers::SelectiveScan& of, Index workers) {
  return workers_bytes(ScanWorker::bytes(of), workers);
}

POSENC_DETAIL_COLD inline void check_scan_call(Problems& problems, const mixers::ScanInputs& in,
                                               const mixers::Result& out,
                                               const mixers::SelectiveScan& of,
                                               const mixers::State& state, Index sequences,
                                               std::span<const Index> slots) {
  check_scan_inputs(problems, in, of);
  check_tensor(problems, "out", out, in.u.tokens(), 1, of.channels());
  if (problems.empty())
    check_apart(problems, "out", out,
                {{"u", &in.u}, {"dt", &in.dt}, {"B", &in.B}, {"C", &in.C}, {"z", &in.z}});
  check_scan_state(problems, "the state", state, of);
  check_slots(problems, state, sequences, slots);
}

/// By the definition, for a channel c: with s_t the sum of Delta up to token t,
/// h_t[n] = exp(A[n] s_t) h[n] + sum over m <= t of exp(A[n] (s_t - s_m)) Delta_m B_m[n] u_m.
class ScanDefinition {
 public:
  explicit ScanDefinition(const ScanCall& call)
      : call_(call), tokens_(call.u.tokens), states_(call.of.d_state()), u_(rows(call.u)),
        dt_(rows(call.dt)), b_(rows(call.b)), c_(rows(call.c)) {
    if (call.z.storage) z_ = rows(call.z);
  }

  void run() {
    constexpr Index block = mixers::SelectiveScan::block;
    const Index channels = call_.of.channels();
    std::vector<float> out(size(tokens_ * channels));
    for (Index channel = 0; channel < channels; ++channel) {
      const float* const rates = call_.of.rates(channel / block) + channel % block;
      float* const h = call_.state.matrix(0, channel / block) + channel % block;
      std::vector<double> delta;
      for (Index t = 0; t < tokens_; ++t) {
        const double x = dt_[size(t * channels + channel)] + call_.of.bias()[channel];
        delta.push_back(call_.of.softplus() ? std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)))
                                            : std::max<double>(x, call_.of.least()[channel]));
      }
      std::vector<double> after(size(states_));
      for (Index t = 0; t < tokens_; ++t) {
        const double u = u_[size(t * channels + channel)];
        double y = call_.of.skip()[channel] * u;
        for (Index n = 0; n < states_; ++n) {
          const double rate = rates[n * block] * 0.6931471805599453;
          double sum = 0, since = 0;
          for (Index m = t; m >= 0; since += delta[size(m)], --m)
            sum += std::exp(rate * since) * delta[size(m)] * b_[size(m * states_ + n)] *
                   u_[size(m * channels + channel)];
          sum += std::exp(rate * since) * h[n * block];
          after[size(n)] = sum;
          y += c_[size(t * states_ + n)] * sum;
        }
        if (!z_.empty()) {
          const double z = z_[size(t * channels + channel)];
          y *= z / (1 + std::exp(-z));
        }
        out[size(t * channels + channel)] = static_cast<float>(y);
      }
      for (Index n = 0; n < states_ && tokens_ > 0; ++n)
        h[n * block] = static_cast<float>(after[size(n)]);
    }
    for (Index t = 0; t < tokens_; ++t) call_.out.store(t, 0, &out[size(t * channels)]);
  }

 private:
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  static std::vector<double> rows(const Rows<float>& from) {
    std::vector<float> row(size(from.width));
    std::vector<double> all;
    for (Index t = 0; t < from.tokens; ++t) {
      from.load(t, 0, row.data());
      all.insert(all.end(), row.begin(), row.end());
    }
    return all;
  }

  const ScanCall& call_;
  Index tokens_, states_;
  std::vector<double> u_, dt_, b_, c_, z_{};
};

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS std::size_t workspace_bytes(const SelectiveScan& scan,
                                                 const AnyExecutor& executor) {
  const Index bytes = posenc::detail::scan_workspace(scan, executor.concurrency());
  Problems problems;
  problems.require(bytes >= 0, "the workspace of a selective scan does not fit in memory.");
  problems.raise_if_any("posenc::mixers::workspace_bytes");
  return static_cast<std::size_t>(bytes);
}

POSENC_DETAIL_MIXERS void step(const ScanInputs& in, const Result& out, const SelectiveScan& of,
                               State& state, const Options& options) {
  Problems problems;
  posenc::detail::check_scan_call(problems, in, out, of, state, in.u.tokens(), options.slots);
  posenc::detail::check_workspace(problems, options.workspace,
                                  posenc::detail::scan_workspace(of,
                                                                 options.executor.concurrency()));
  problems.raise_if_any("posenc::mixers::step");
  const posenc::detail::ScanCall call(in, out, of, state, options.slots);
  // Each thread has the same channels in every step, unless all are too few to be worth a second one.
  constexpr Index least_numbers = Index{1} << 14;
  const Index sequences = in.u.tokens(), blocks = of.blocks(), items = sequences * blocks;
  const Index ranges =
      std::clamp<Index>(items * SelectiveScan::block * of.d_state() / least_numbers, 1,
                        options.executor.concurrency());
  posenc::detail::run_with_memory(
      posenc::detail::ScanWorker::bytes(of), options, ranges, [&](Index range, std::byte* memory) {
        posenc::detail::ScanWorker worker(call, memory);
        const Index last = (range + 1) * items / ranges;
        for (Index i = range * items / ranges, next = 0; i < last; i = next) {
          const Index sequence = i / blocks;
          next = std::min(last, (sequence + 1) * blocks);
          worker.run(sequence, sequence, 1, i - sequence * blocks, next - sequence * blocks);
        }
      });
  for (Index i = 0; i < sequences; ++i)
    state.set_tokens(call.slot(i), state.tokens(call.slot(i)) + 1);
}

POSENC_DETAIL_MIXERS void scan(const ScanInputs& in, const Result& out, const RaggedBatch& batch,
                               const SelectiveScan& of, State& state, const Options& options) {
  Problems problems;
  posenc::detail::check_mixer_batch(problems, batch, in.u.tokens());
  posenc::detail::check_scan_call(problems, in, out, of, state, batch.sequences(), options.slots);
  posenc::detail::check_workspace(problems, options.workspace,
                                  posenc::detail::scan_workspace(of,
                                                                 options.executor.concurrency()));
  problems.raise_if_any("posenc::mixers::scan");
  const posenc::detail::ScanCall call(in, out, of, state, options.slots);
  posenc::detail::run_sequences(
      posenc::detail::ScanWorker::bytes(of), options, batch.sequences(), of.blocks(),
      [&](std::byte* memory) { return posenc::detail::ScanWorker(call, memory); },
      [&](auto& worker, Index sequence, Index first, Index last) {
        worker.run(sequence, batch.start(sequence), batch.tokens_of(sequence), first, last);
      });
  for (Index i = 0; i < batch.sequences(); ++i)
    state.set_tokens(call.slot(i), state.tokens(call.slot(i)) + batch.tokens_of(i));
}

POSENC_DETAIL_MIXERS void scan(const ScanInputs& in, const Result& out, const SelectiveScan& of,
                               State& state, const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, in.u.tokens())};
  scan(in, out, RaggedBatch{.starts = starts}, of, state, options);
}

POSENC_DETAIL_MIXERS void parallel(const ScanInputs& in, const Result& out, const SelectiveScan& of,
                                   State& state) {
  Problems problems;
  posenc::detail::check_scan_call(problems, in, out, of, state, 1, {});
  problems.raise_if_any("posenc::mixers::parallel");
  posenc::detail::ScanDefinition(posenc::detail::ScanCall(in, out, of, state, {})).run();
  state.set_tokens(0, state.tokens() + in.u.tokens());
}

}  // namespace mixers

POSENC_NAMESPACE_END
