// SPDX-License-Identifier: MIT
//
// step and chunked: checks, tasks, workers; see operators.hpp.
#pragma once

#include <posenc/executor/tasks.hpp>
#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/chunk_worker.hpp>
#include <posenc/mixers/operators.hpp>
#include <posenc/mixers/step_worker.hpp>

#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Bytes for so many workers; negative when they do not fit in memory.
inline Index mixer_workspace(const mixers::Mixer& mixer, Index workers) {
  Index bytes = 0;
  const Index one = ChunkWorker::bytes(mixer);
  return one >= 0 && multiply(one, workers, bytes) ? bytes : -1;
}

/// Workers share tasks: run(worker, task), where make(memory) is a worker.
template <class WorkerT, class Run>
void run_mixer(const MixerCall& call, const mixers::Options& options, Index tasks, const Run& run) {
  const Index one = ChunkWorker::bytes(call.mixer), concurrency = options.executor.concurrency();
  const Workspace workspace(options.workspace, one * concurrency);
  run_tasks(options.executor, std::min(concurrency, tasks), tasks, [&](Index w) {
    return [&run, worker = WorkerT(call, workspace.data() + w * one)](Index task) mutable {
      run(worker, task);
    };
  });
}

inline void check_mixer_workspace(Problems& problems, const mixers::Mixer& mixer,
                                  const mixers::Options& options) {
  check_workspace(problems, options.workspace,
                  mixer_workspace(mixer, options.executor.concurrency()));
}

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS std::size_t workspace_bytes(const Mixer& mixer, const AnyExecutor& executor) {
  const Index bytes = posenc::detail::mixer_workspace(mixer, executor.concurrency());
  Problems problems;
  problems.require(bytes >= 0, "the workspace of ", mixer.name(), " does not fit in memory.");
  problems.raise_if_any("posenc::mixers::workspace_bytes");
  return static_cast<std::size_t>(bytes);
}

POSENC_DETAIL_MIXERS void step(const Inputs& in, const Result& out, const Mixer& mixer,
                               State& state, const Options& options) {
  Problems problems;
  posenc::detail::check_mixer_call(problems, in, out, mixer, state, in.v.tokens(), options.slots);
  posenc::detail::check_mixer_workspace(problems, mixer, options);
  problems.raise_if_any("posenc::mixers::step");
  const posenc::detail::MixerCall call(in, out, mixer, state, options.slots);
  const Index heads = mixer.shape().heads, sequences = in.v.tokens();
  posenc::detail::run_mixer<posenc::detail::StepWorker>(call, options, sequences * heads,
                                                        [heads](auto& worker, Index task) {
                                                          worker.run(task / heads, task % heads);
                                                        });
  for (Index i = 0; i < sequences; ++i)
    state.set_tokens(call.slot(i), state.tokens(call.slot(i)) + 1);
}

POSENC_DETAIL_MIXERS void chunked(const Inputs& in, const Result& out, const RaggedBatch& batch,
                                  const Mixer& mixer, State& state, const Options& options) {
  Problems problems;
  batch.check(problems, in.v.tokens());
  problems.require(batch.offsets.empty(),
                   "a state knows where its sequence stands, so the batch must have no offsets.");
  posenc::detail::check_mixer_call(problems, in, out, mixer, state, batch.sequences(),
                                   options.slots);
  posenc::detail::check_mixer_workspace(problems, mixer, options);
  problems.raise_if_any("posenc::mixers::chunked");
  const posenc::detail::MixerCall call(in, out, mixer, state, options.slots);
  // Heads that share a key are one task as far as they share its scores.
  const auto& [heads, key_heads, key_dim, value_dim] = mixer.shape();
  const bool share = mixer.recurrence().decay != Decay::channel;
  const Index group = heads / key_heads,
              together = share ? std::min(group, posenc::detail::mixer_heads) : 1;
  const Index of_group = (group + together - 1) / together, of_sequence = key_heads * of_group;
  posenc::detail::run_mixer<posenc::detail::ChunkWorker>(
      call, options, batch.sequences() * of_sequence, [&, group = group](auto& worker, Index task) {
        const Index sequence = task / of_sequence, part = task % of_sequence;
        const Index first = part % of_group * together;
        worker.run(sequence, batch.start(sequence), batch.tokens_of(sequence),
                   part / of_group * group + first, std::min(together, group - first));
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
