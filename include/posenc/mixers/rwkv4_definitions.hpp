// SPDX-License-Identifier: MIT
//
// Checks, tasks and the loop over tokens of RWKV-4; see rwkv4.hpp.
#pragma once

#include <posenc/mixers/call.hpp>
#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/rwkv.hpp>
#include <posenc/mixers/rwkv4.hpp>

#include <algorithm>
#include <array>
#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Some channels of the tokens of one sequence.
class WKVWorker {
 public:
  WKVWorker(const mixers::Inputs& in, const mixers::Result& out, const mixers::WKV& wkv,
            const mixers::Leaves& leaves, std::byte* memory)
      : level_(level_index()), r_(in.q.rows(level_)), k_(in.k.rows(level_)), v_(in.v.rows(level_)),
        out_(out.rows(level_)), wkv_(wkv), leaves_(leaves),
        buffer_(reinterpret_cast<float*>(memory)) {}

  static Index bytes(const mixers::WKV& wkv) {
    return 4 * round_up(wkv.channels(), 16) * static_cast<Index>(sizeof(float));
  }

  /// Channels [channel, channel + width) of tokens [first, first + tokens), and four rows of a state that are `row`
  /// apart. `channel` is a multiple of 16.
  void run(Index first, Index tokens, Index channel, Index width, float* state, Index row) {
    const Index padded = round_up(width, 16);
    const Rows<float> r = channels_of(r_, channel, width), k = channels_of(k_, channel, width),
                      v = channels_of(v_, channel, width);
    const OutRows<float> out = channels_of(out_, channel, width);
    float *const out_row = buffer_, *const k_row = out_row + padded, *const v_row = k_row + padded,
                 *const r_row = v_row + padded;
    const auto row_of = [&](const Rows<float>& from, Index t, float* copy) -> const float* {
      if (from.is_plain() && width == padded) return from.plain_row(t, 0);
      load_rows(leaves_, from, t, 1, 0, copy, padded);
      return copy;
    };
    for (Index t = first; t < first + tokens; ++t) {
      leaves_.wkv(padded, row_of(k, t, k_row), row_of(v, t, v_row), wkv_.decay() + channel,
                  wkv_.bonus() + channel, state + channel, row, out_row);
      if (r.storage) {
        leaves_.sigmoid(padded, 1, row_of(r, t, r_row), r_row);
        leaves_.multiply(padded, out_row, r_row, out_row);
      }
      out.store(t, 0, out_row);
    }
  }

 private:
  std::size_t level_;
  Rows<float> r_, k_, v_;
  OutRows<float> out_;
  const mixers::WKV& wkv_;
  const mixers::Leaves& leaves_;
  float* buffer_;
};

inline Index wkv_workspace(const mixers::WKV& wkv, Index workers) {
  Index bytes = 0;
  return multiply(WKVWorker::bytes(wkv), workers, bytes) ? bytes : -1;
}

POSENC_DETAIL_COLD inline void check_wkv_call(Problems& problems, const mixers::Inputs& in,
                                              const mixers::Result& out, const mixers::WKV& wkv,
                                              const mixers::State& state, Index sequences,
                                              const mixers::Options& options) {
  const Index tokens = in.v.tokens(), channels = wkv.channels();
  if (in.q.is_given()) check_tensor(problems, "q", in.q, tokens, 1, channels);
  check_tensor(problems, "k", in.k, tokens, 1, channels);
  check_tensor(problems, "v", in.v, tokens, 1, channels);
  check_tensor(problems, "out", out, tokens, 1, channels);
  problems.require(!in.decay.is_given() && !in.beta.is_given() && !in.removal.is_given(),
                   "RWKV4 takes q, k and v: its decays are parameters, and it has no delta rule.");
  if (problems.empty())
    check_apart(problems, "out", out, {{"q", &in.q}, {"k", &in.k}, {"v", &in.v}});
  problems.require(state.shape() == wkv.shape() && !state.keeps_sum(), "the state is of ",
                   state.shape().heads, " heads of [", state.shape().key_dim, ", ",
                   state.shape().value_dim, "] but RWKV4 has 1 of [4, ", channels,
                   "]: make it by WKV::state().");
  check_slots(problems, state, sequences, options.slots);
  check_workspace(problems, options.workspace, wkv_workspace(wkv, options.executor.concurrency()));
}

/// Sequences and ranges of channels, shared out where they are worth a thread. tokens_of(i) is the first token of
/// sequence i and how many it has.
template <class TokensOf>
void run_wkv(const mixers::Inputs& in, const mixers::Result& out, const mixers::WKV& wkv,
             mixers::State& state, const mixers::Options& options, Index sequences,
             const TokensOf& tokens_of) {
  constexpr Index step = 64, worth_a_thread = Index{8} * 1024;
  const Index channels = wkv.channels(), threads = options.executor.concurrency();
  const Index blocks = (channels + step - 1) / step, items = sequences * blocks;
  const Index workers =
      std::clamp<Index>(in.v.tokens() * channels / worth_a_thread, 1, std::min(threads, items));
  const Index one = WKVWorker::bytes(wkv);
  const Workspace workspace(options.workspace, one * workers);
  const mixers::Leaves& leaves = mixers::leaves();
  const auto task = [&](Index i) {
    WKVWorker worker(in, out, wkv, leaves, workspace.data() + i * one);
    const Index last = (i + 1) * items / workers;
    for (Index item = i * items / workers; item < last;) {
      const Index sequence = item / blocks, block = item % blocks,
                  end = std::min(blocks, block + last - item);
      const Index slot =
          options.slots.empty() ? sequence : options.slots[static_cast<std::size_t>(sequence)];
      const auto [first, tokens] = tokens_of(sequence);
      worker.run(first, tokens, block * step, std::min(end * step, channels) - block * step,
                 state.matrix(slot, 0), state.row());
      item += end - block;
    }
  };
  workers == 1 ? task(0) : options.executor(workers, task);
  for (Index i = 0; i < sequences; ++i) {
    const Index slot = options.slots.empty() ? i : options.slots[static_cast<std::size_t>(i)];
    state.set_tokens(slot, state.tokens(slot) + tokens_of(i).second);
  }
}

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS RWKV4 RWKV4::initial(Index channels, Index layer, Index layers) {
  RWKV4 mixer{.channels = channels};
  const double depth =
      layers > 1 ? static_cast<double>(layer) / static_cast<double>(layers - 1) : 0;
  for (Index c = 0; c < channels; ++c) {
    const double place =
        channels > 1 ? static_cast<double>(c) / static_cast<double>(channels - 1) : 0;
    mixer.time_decay.push_back(static_cast<float>(-5 + 8 * std::pow(place, 0.7 + 1.3 * depth)));
    const double zigzag = (static_cast<double>((c + 1) % 3) - 1) * 0.5;
    mixer.time_first.push_back(static_cast<float>(std::log(0.3) + zigzag));
  }
  return mixer;
}

POSENC_DETAIL_MIXERS void RWKV4::check(Problems& problems) const {
  problems.require(channels >= 1, "channels must be at least 1, got ", channels, ".");
  rwkv::check(problems, "time_decay", time_decay, channels);
  rwkv::check(problems, "time_first", time_first, channels);
}

POSENC_DETAIL_MIXERS WKV::WKV(const RWKV4& mixer) : channels_(mixer.channels) {
  Problems problems;
  mixer.check(problems);
  problems.raise_if_any("posenc::mixers::RWKV4");
  const auto padded = static_cast<std::size_t>(posenc::detail::round_up(channels_, 16));
  bonus_ = mixer.time_first;
  bonus_.resize(padded);
  // beyond all other exponents, and within the floats after 2^64 tokens
  constexpr double least = -1e18;
  for (const float x : mixer.time_decay)
    decay_.push_back(static_cast<float>(std::max(-std::exp(static_cast<double>(x)), least)));
  decay_.resize(padded);
}

POSENC_DETAIL_MIXERS std::size_t workspace_bytes(const WKV& wkv, const AnyExecutor& executor) {
  const Index bytes = posenc::detail::wkv_workspace(wkv, executor.concurrency());
  Problems problems;
  problems.require(bytes >= 0, "the workspace of RWKV4 does not fit in memory.");
  problems.raise_if_any("posenc::mixers::workspace_bytes");
  return static_cast<std::size_t>(bytes);
}

POSENC_DETAIL_MIXERS void step(const Inputs& in, const Result& out, const WKV& wkv, State& state,
                               const Options& options) {
  Problems problems;
  posenc::detail::check_wkv_call(problems, in, out, wkv, state, in.v.tokens(), options);
  problems.raise_if_any("posenc::mixers::step");
  posenc::detail::run_wkv(in, out, wkv, state, options, in.v.tokens(),
                          [](Index i) { return std::pair<Index, Index>(i, 1); });
}

POSENC_DETAIL_MIXERS void prefill(const Inputs& in, const Result& out, const RaggedBatch& batch,
                                  const WKV& wkv, State& state, const Options& options) {
  Problems problems;
  batch.check(problems, in.v.tokens());
  problems.require(batch.offsets.empty(),
                   "a state knows where its sequence stands, so the batch must have no offsets.");
  posenc::detail::check_wkv_call(problems, in, out, wkv, state, batch.sequences(), options);
  problems.raise_if_any("posenc::mixers::prefill");
  posenc::detail::run_wkv(in, out, wkv, state, options, batch.sequences(), [&](Index i) {
    return std::pair<Index, Index>(batch.start(i), batch.tokens_of(i));
  });
}

POSENC_DETAIL_MIXERS void prefill(const Inputs& in, const Result& out, const WKV& wkv, State& state,
                                  const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, in.v.tokens())};
  prefill(in, out, RaggedBatch{.starts = starts}, wkv, state, options);
}

}  // namespace mixers

POSENC_NAMESPACE_END
