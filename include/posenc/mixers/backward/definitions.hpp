// SPDX-License-Identifier: MIT
//
// backward(): checks, tasks, workers; see backward.hpp.
#pragma once

#include <posenc/mixers/backward.hpp>
#include <posenc/mixers/backward/delta_worker.hpp>
#include <posenc/mixers/backward/worker.hpp>
#include <posenc/mixers/checks.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

inline bool check_mixer_has_gradient(Problems& problems, const mixers::Mixer& mixer) {
  const mixers::Recurrence& of = mixer.recurrence();
  problems.require(!of.rule || of.rule_gradient, mixer.name(),
                   " has a rule for its decays that does not say its gradient (rule_gradient).");
  problems.require(!of.normaliser || !of.keeps_sum || of.normaliser_slope, mixer.name(),
                   " has a normaliser that does not say its slope (normaliser_slope).");
  return problems.empty();
}

inline Index mixer_backward_workers(const mixers::Mixer& mixer, Index sequences,
                                    const AnyExecutor& executor) {
  Index tasks = 0;
  if (!multiply(sequences, mixer.shape().key_heads, tasks)) return executor.concurrency();
  return std::clamp<Index>(tasks, 1, executor.concurrency());
}

/// Bytes of a worker for sequences of so many tokens.
inline Index mixer_backward_worker(const mixers::Mixer& mixer, Index longest) {
  return mixer.recurrence().delta
             ? DeltaBackwardWorker::bytes(mixer, DeltaBackwardWorker::chunks(longest))
             : MixerBackwardWorker::bytes(mixer, mixer_chunks(longest));
}
/// Bytes of the sums of parameters, and of all; negative when they do not fit in memory.
inline Index mixer_backward_sums(const mixers::Mixer& mixer, Index sequences) {
  Arena arena(nullptr);
  Index rows = 0;
  arena.take<double>(multiply(sequences, mixer.shape().heads, rows) ? rows : Index{1} << 62,
                     MixerSumsTable(mixer.recurrence()).doubles());
  return arena.used();
}
inline Index mixer_backward_workspace(const mixers::Mixer& mixer, Index longest, Index sequences,
                                      const AnyExecutor& executor) {
  const Index one = mixer_backward_worker(mixer, longest),
              sums = mixer_backward_sums(mixer, sequences);
  Index all = 0;
  const bool fits = one >= 0 && sums >= 0 &&
                    multiply(one, mixer_backward_workers(mixer, sequences, executor), all) &&
                    all <= std::numeric_limits<Index>::max() - sums;
  return fits ? all + sums : -1;
}
inline Index longest_sequence(const RaggedBatch& batch) {
  Index longest = 0;
  for (Index i = 0; i < batch.sequences(); ++i) longest = std::max(longest, batch.tokens_of(i));
  return longest;
}

POSENC_DETAIL_COLD inline void check_mixer_gradients(Problems& problems, const mixers::Inputs& in,
                                                     const mixers::Operand& d_out,
                                                     const mixers::Gradients& to,
                                                     const mixers::Mixer& mixer) {
  const auto& [heads, key_heads, key_dim, value_dim] = mixer.shape();
  const Index tokens = in.v.tokens();
  const mixers::Recurrence& of = mixer.recurrence();
  check_tensor(problems, "d_out", d_out, tokens, heads, value_dim);
  struct Named {
    const char* name;
    const TensorView<float>& view;
    Index heads, width;
    bool wanted = true;
    const char* takes_no = "";
  };
  const std::array<Named, 6> all{
      {{"the gradient of q", to.q, key_heads, key_dim},
       {"the gradient of k", to.k, key_heads, key_dim},
       {"the gradient of v", to.v, heads, value_dim},
       {"the gradient of the decay", to.decay, heads, of.decay_width(), of.decays_by_token(),
        " takes no decay by token, so there is no gradient of it."},
       {"the gradient of beta", to.beta, heads, of.removal ? key_dim : 1, of.delta,
        " takes no beta, so there is no gradient of it."},
       {"the gradient of the removal vector", to.removal, key_heads, key_dim, of.removal,
        " takes no removal vector, so there is no gradient of it."}}};
  for (const Named& one : all)
    if (one.wanted)
      check_tensor(problems, one.name,
                   one.view.data || tokens == 0 ? mixers::Result(one.view) : mixers::Result(),
                   tokens, one.heads, one.width);
    else
      problems.require(one.view.data == nullptr, mixer.name(), one.takes_no);
  if (!problems.empty()) return;
  for (const Named& one : all) {
    if (!one.wanted) continue;
    check_apart(problems, one.name, one.view,
                {{"q", &in.q},
                 {"k", &in.k},
                 {"v", &in.v},
                 {"decay", &in.decay},
                 {"beta", &in.beta},
                 {"removal", &in.removal},
                 {"d_out", &d_out}});
    for (const Named& other : all)
      problems.require(&one <= &other || !other.wanted || !overlap(one.view, other.view), one.name,
                       " must not overlap ", other.name, ".");
  }
  if (!to.learned) return;
  problems.require(to.learned->fit(mixer), "the gradients of what is learned are not those of ",
                   mixer.name(), ".");
}

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS std::size_t backward_workspace_bytes(const Mixer& mixer, Index longest,
                                                          Index sequences,
                                                          const AnyExecutor& executor) {
  Problems problems;
  problems.require(longest >= 0 && sequences >= 0,
                   "the longest sequence and the number of sequences must not be negative, got ",
                   longest, " and ", sequences, ".");
  const Index bytes =
      problems.empty()
          ? posenc::detail::mixer_backward_workspace(mixer, longest, sequences, executor)
          : 0;
  problems.require(bytes >= 0, "the workspace of ", mixer.name(), " does not fit in memory.");
  problems.raise_if_any("posenc::mixers::backward_workspace_bytes");
  return static_cast<std::size_t>(bytes);
}

POSENC_DETAIL_MIXERS void backward(const Inputs& in, const Operand& d_out, const State& before,
                                   State& d_state, const Gradients& to, const RaggedBatch& batch,
                                   const Mixer& mixer, const Options& options) {
  Problems problems;
  const Index sequences = batch.sequences();
  posenc::detail::check_mixer_batch(problems, batch, in.v.tokens());
  if (posenc::detail::check_mixer_has_gradient(problems, mixer)) {
    posenc::detail::check_mixer_inputs(problems, in, mixer);
    posenc::detail::check_mixer_gradients(problems, in, d_out, to, mixer);
    posenc::detail::check_mixer_state(problems, "the state", before, mixer);
    posenc::detail::check_mixer_state(problems, "the gradient of the state", d_state, mixer);
    posenc::detail::check_state_gradient(problems, before, d_state, sequences, options.slots);
  }
  const Index longest = posenc::detail::longest_sequence(batch);
  if (problems.empty())
    posenc::detail::check_workspace(
        problems, options.workspace,
        posenc::detail::mixer_backward_workspace(mixer, longest, sequences, options.executor));
  problems.raise_if_any("posenc::mixers::backward");

  posenc::detail::MixerBackwardCall call(in, d_out, before, d_state, to, mixer, options.slots);
  const Index key_heads = mixer.shape().key_heads;
  const Index one = posenc::detail::mixer_backward_worker(mixer, longest),
              workers = posenc::detail::mixer_backward_workers(mixer, sequences, options.executor);
  const posenc::detail::Workspace workspace(
      options.workspace, one * workers + posenc::detail::mixer_backward_sums(mixer, sequences));
  call.sums.begin(reinterpret_cast<double*>(workspace.data() + one * workers), sequences);
  std::atomic<Index> next{0};
  const auto work = [&]<class Worker>(std::type_identity<Worker>, Index chunks) {
    const auto run = [&](Index i) {
      Worker worker(call, chunks, workspace.data() + i * one);
      for (Index task;
           (task = next.fetch_add(1, std::memory_order_relaxed)) < sequences * key_heads;) {
        const Index sequence = task / key_heads;
        worker.run(sequence, batch.start(sequence), batch.tokens_of(sequence), task % key_heads);
      }
    };
    workers == 1 ? run(0) : options.executor(workers, run);
  };
  if (mixer.recurrence().delta)
    work(std::type_identity<posenc::detail::DeltaBackwardWorker>(),
         posenc::detail::DeltaBackwardWorker::chunks(longest));
  else
    work(std::type_identity<posenc::detail::MixerBackwardWorker>(),
         posenc::detail::mixer_chunks(longest));
  if (to.learned) call.sums.add_to(*to.learned, sequences);
}

POSENC_DETAIL_MIXERS void backward(const Inputs& in, const Operand& d_out, const State& before,
                                   State& d_state, const Gradients& to, const Mixer& mixer,
                                   const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, in.v.tokens())};
  backward(in, d_out, before, d_state, to, RaggedBatch{.starts = starts}, mixer, options);
}

}  // namespace mixers

POSENC_NAMESPACE_END
