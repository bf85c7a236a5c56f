// SPDX-License-Identifier: MIT
//
// step and chunked: checks, tasks, workers; see operators.hpp.
#pragma once

#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/chunk_worker.hpp>
#include <posenc/mixers/operators.hpp>
#include <posenc/mixers/step_worker.hpp>

#include <algorithm>
#include <array>
#include <atomic>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Bytes for so many workers of `one` each; negative when they do not fit in memory.
inline Index workers_bytes(Index one, Index workers) {
  Index bytes = 0;
  return one >= 0 && multiply(one, workers, bytes) ? bytes : -1;
}

/// Calls run(i, memory) for i in [0, n), n at most the number of threads, each with `one` bytes for a worker.
template <class Run>
void run_with_memory(Index one, const mixers::Options& options, Index n, const Run& run) {
  const Workspace workspace(options.workspace, one * n);
  const auto task = [&](Index i) { run(i, workspace.data() + i * one); };
  n == 1 ? task(0) : options.executor(n, task);
}

/// Calls run(worker, sequence, first, last) for ranges [first, last) of the parts (heads) of each sequence. There are as
/// many tasks as threads have use for: a sequence is one, unless there are too few of them.
template <class Make, class Run>
void run_sequences(Index one, const mixers::Options& options, Index sequences, Index parts,
                   const Make& make, const Run& run) {
  const Index threads = options.executor.concurrency();
  const Index ranges = std::min(parts, (threads + sequences - 1) / std::max<Index>(sequences, 1));
  const Index tasks = sequences * ranges;
  std::atomic<Index> next{0};
  run_with_memory(one, options, std::clamp<Index>(tasks, 1, threads),
                  [&](Index, std::byte* memory) {
                    auto worker = make(memory);
                    for (Index task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;)
                      run(worker, task / ranges, task % ranges * parts / ranges,
                          (task % ranges + 1) * parts / ranges);
                  });
}

inline void check_workers_memory(Problems& problems, Index one, const mixers::Options& options) {
  check_workspace(problems, options.workspace, workers_bytes(one, options.executor.concurrency()));
}

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS std::size_t workspace_bytes(const Mixer& mixer, const AnyExecutor& executor) {
  const Index bytes = posenc::detail::workers_bytes(posenc::detail::ChunkWorker::bytes(mixer),
                                                    executor.concurrency());
  Problems problems;
  problems.require(bytes >= 0, "the workspace of ", mixer.name(), " does not fit in memory.");
  problems.raise_if_any("posenc::mixers::workspace_bytes");
  return static_cast<std::size_t>(bytes);
}

POSENC_DETAIL_MIXERS void step(const Inputs& in, const Result& out, const Mixer& mixer,
                               State& state, const Options& options) {
  Problems problems;
  posenc::detail::check_mixer_call(problems, in, out, mixer, state, in.v.tokens(), options.slots);
  const Index one = posenc::detail::ChunkWorker::bytes(mixer);
  posenc::detail::check_workers_memory(problems, one, options);
  problems.raise_if_any("posenc::mixers::step");
  const posenc::detail::MixerCall call(in, out, mixer, state, options.slots);
  const Index heads = mixer.shape().heads, sequences = in.v.tokens();
  // Each thread has the same heads in every step, and their states in its cache, unless all fit in one.
  constexpr Index least_bytes = Index{64} * 1024;
  const Index items = sequences * heads,
              bytes = static_cast<Index>(state.bytes()) / std::max<Index>(state.sequences(), 1);
  const Index ranges =
      std::clamp<Index>(items * (bytes / heads) / least_bytes, 1, options.executor.concurrency());
  posenc::detail::run_with_memory(one, options, ranges, [&](Index range, std::byte* memory) {
    posenc::detail::StepWorker worker(call, memory);
    for (Index i = range * items / ranges; i < (range + 1) * items / ranges; ++i)
      worker.run(i / heads, i % heads);
  });
  for (Index i = 0; i < sequences; ++i)
    state.set_tokens(call.slot(i), state.tokens(call.slot(i)) + 1);
}

POSENC_DETAIL_MIXERS void chunked(const Inputs& in, const Result& out, const RaggedBatch& batch,
                                  const Mixer& mixer, State& state, const Options& options) {
  Problems problems;
  posenc::detail::check_mixer_batch(problems, batch, in.v.tokens());
  posenc::detail::check_mixer_call(problems, in, out, mixer, state, batch.sequences(),
                                   options.slots);
  const Index one = posenc::detail::ChunkWorker::bytes(mixer);
  posenc::detail::check_workers_memory(problems, one, options);
  problems.raise_if_any("posenc::mixers::chunked");
  const posenc::detail::MixerCall call(in, out, mixer, state, options.slots);
  posenc::detail::run_sequences(
      one, options, batch.sequences(), mixer.shape().heads,
      [&](std::byte* memory) { return posenc::detail::ChunkWorker(call, memory); },
      [&](auto& worker, Index sequence, Index head, Index last) {
        worker.run(sequence, batch.start(sequence), batch.tokens_of(sequence), head, last - head);
      });
  for (Index i = 0; i < batch.sequences(); ++i)
    state.set_tokens(call.slot(i), state.tokens(call.slot(i)) + batch.tokens_of(i));
}

POSENC_DETAIL_MIXERS void chunked(const Inputs& in, const Result& out, const Mixer& mixer,
                                  State& state, const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, in.v.tokens())};
  chunked(in, out, RaggedBatch{.starts = starts}, mixer, state, options);
}

}  // namespace mixers

POSENC_NAMESPACE_END
