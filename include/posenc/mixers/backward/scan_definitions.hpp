// SPDX-License-Identifier: MIT
//
// backward() of a selective scan: checks, tasks, sums; see scan_backward.hpp.
#pragma once

#include <posenc/mixers/backward/scan_worker.hpp>
#include <posenc/mixers/scan_backward.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Bytes of the workers, of the sums that groups share, and of those of parameters; negative when they do not fit.
struct ScanBackwardMemory {
  Index chunks, worker, workers, shared, learned;

  ScanBackwardMemory(const mixers::SelectiveScan& of, Index tokens, Index longest, Index sequences,
                     const AnyExecutor& executor)
      : chunks(longest / ScanBackwardCall::chunk + 1),
        worker(ScanBackwardWorker::bytes(of, chunks)),
        workers(std::clamp<Index>(sequences, 1, executor.concurrency())) {
    const Index groups = ScanBackwardCall::groups(of);
    workers = std::min(executor.concurrency(), workers * groups);
    const auto bytes = [](Index rows, Index more_rows, Index columns, auto one) {
      Arena arena(nullptr);
      Index all = 0;
      arena.take<decltype(one)>(multiply(rows, more_rows, all) ? all : Index{1} << 62, columns);
      return arena.used();
    };
    shared = bytes(tokens, groups, 2 * ScanBackwardCall::row(of), 0.0F);
    learned = bytes(sequences, of.blocks() * ScanBackwardCall::size, of.d_state() + 2, 0.0);
  }
  [[nodiscard]] Index bytes() const {
    Index all = 0;
    if (worker < 0 || shared < 0 || learned < 0 || !multiply(worker, workers, all)) return -1;
    constexpr Index most = std::numeric_limits<Index>::max() / 4;
    return all < most && shared < most && learned < most ? all + shared + learned : -1;
  }
};

POSENC_DETAIL_COLD inline void check_scan_backward(
    Problems& problems, const mixers::ScanInputs& in, const mixers::Operand& d_out,
    const mixers::State& before, const mixers::State& d_state, const mixers::ScanGradients& to,
    const mixers::SelectiveScan& of, Index sequences, std::span<const Index> slots) {
  const Index tokens = in.u.tokens();
  check_scan_inputs(problems, in, of);
  check_tensor(problems, "d_out", d_out, tokens, 1, of.channels());
  struct Named {
    const char* name;
    const TensorView<float>& view;
    Index width;
    bool wanted = true;
  };
  const std::array<Named, 5> all{{{"the gradient of u", to.u, of.channels()},
                                  {"the gradient of dt", to.dt, of.channels()},
                                  {"the gradient of B", to.B, of.d_state()},
                                  {"the gradient of C", to.C, of.d_state()},
                                  {"the gradient of z", to.z, of.channels(), in.z.is_given()}}};
  for (const Named& one : all)
    if (one.wanted)
      check_tensor(problems, one.name,
                   one.view.data || tokens == 0 ? mixers::Result(one.view) : mixers::Result(),
                   tokens, 1, one.width);
    else
      problems.require(one.view.data == nullptr, "there is no z, so it has no gradient.");
  check_scan_state(problems, "the state", before, of);
  check_scan_state(problems, "the gradient of the state", d_state, of);
  check_state_gradient(problems, before, d_state, sequences, slots);
  problems.require(!to.learned || (std::ssize(to.learned->A_log) == of.channels() * of.d_state() &&
                                   std::ssize(to.learned->D) == of.channels() &&
                                   std::ssize(to.learned->dt_bias) == of.channels()),
                   "the gradients of what is learned are not those of this scan.");
  if (!problems.empty()) return;
  for (const Named& one : all) {
    if (!one.wanted) continue;
    check_apart(problems, one.name, one.view,
                {{"u", &in.u},
                 {"dt", &in.dt},
                 {"B", &in.B},
                 {"C", &in.C},
                 {"z", &in.z},
                 {"d_out", &d_out}});
    for (const Named& other : all)
      problems.require(&one <= &other || !other.wanted || !overlap(one.view, other.view), one.name,
                       " must not overlap ", other.name, ".");
  }
}

/// dB and dC are the sums of the groups', and those of parameters of the sequences'.
inline void add_scan_sums(const ScanBackwardCall& call, mixers::MambaGradients* learned,
                          Index sequences) {
  const mixers::SelectiveScan& of = call.forward.of;
  const Index row = ScanBackwardCall::row(of);
  for (Index t = 0; t < call.forward.u.tokens; ++t) {
    float* const sum = call.sums(0, t);
    for (Index group = 1; group < ScanBackwardCall::groups(of); ++group)
      call.forward.leaves.gradient.add(2 * row, call.sums(group, t), sum);
    call.b.store(t, 0, sum), call.c.store(t, 0, sum + row);
  }
  if (!learned) return;
  for (Index sequence = 0; sequence < sequences; ++sequence)
    for (Index c = 0; c < of.channels(); ++c) {
      const double* const sums = call.learned_of(sequence, c);
      const float* const rates = of.rates(c / ScanBackwardCall::size) + c % ScanBackwardCall::size;
      for (Index n = 0; n < of.d_state(); ++n)  // the derivative of A by A_log is A
        learned->A_log[static_cast<std::size_t>(c * of.d_state() + n)] +=
            sums[n] * static_cast<double>(rates[n * ScanBackwardCall::size]) * 0.6931471805599453;
      learned->dt_bias[static_cast<std::size_t>(c)] += sums[of.d_state()];
      learned->D[static_cast<std::size_t>(c)] += sums[of.d_state() + 1];
    }
}

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS std::size_t backward_workspace_bytes(const SelectiveScan& of, Index tokens,
                                                          Index longest, Index sequences,
                                                          const AnyExecutor& executor) {
  Problems problems;
  problems.require(tokens >= 0 && longest >= 0 && sequences >= 0,
                   "tokens, the longest sequence and the number of sequences must not be negative, "
                   "got ",
                   tokens, ", ", longest, " and ", sequences, ".");
  const Index bytes =
      problems.empty()
          ? posenc::detail::ScanBackwardMemory(of, tokens, longest, sequences, executor).bytes()
          : 0;
  problems.require(bytes >= 0, "the workspace of a selective scan does not fit in memory.");
  problems.raise_if_any("posenc::mixers::backward_workspace_bytes");
  return static_cast<std::size_t>(bytes);
}

POSENC_DETAIL_MIXERS void backward(const ScanInputs& in, const Operand& d_out, const State& before,
                                   State& d_state, const ScanGradients& to,
                                   const RaggedBatch& batch, const SelectiveScan& of,
                                   const Options& options) {
  Problems problems;
  const Index sequences = batch.sequences(), tokens = in.u.tokens();
  posenc::detail::check_mixer_batch(problems, batch, tokens);
  posenc::detail::check_scan_backward(problems, in, d_out, before, d_state, to, of, sequences,
                                      options.slots);
  problems.raise_if_any("posenc::mixers::backward");
  Index longest = 0;
  for (Index i = 0; i < sequences; ++i) longest = std::max(longest, batch.tokens_of(i));
  const posenc::detail::ScanBackwardMemory memory(of, tokens, longest, sequences, options.executor);
  posenc::detail::check_workspace(problems, options.workspace, memory.bytes());
  problems.raise_if_any("posenc::mixers::backward");

  posenc::detail::ScanBackwardCall call(in, d_out, before, d_state, to, of, options.slots);
  const posenc::detail::Workspace workspace(options.workspace, memory.bytes());
  std::byte* const sums = workspace.data() + memory.worker * memory.workers;
  call.shared = reinterpret_cast<float*>(sums);
  call.learned = reinterpret_cast<double*>(sums + memory.shared);
  std::fill_n(call.learned, memory.learned / Index{sizeof(double)}, 0.0);
  const Index groups = posenc::detail::ScanBackwardCall::groups(of);
  std::atomic<Index> next{0};
  const auto work = [&](Index i) {
    posenc::detail::ScanBackwardWorker worker(call, memory.chunks,
                                              workspace.data() + i * memory.worker);
    for (Index task; (task = next.fetch_add(1, std::memory_order_relaxed)) < sequences * groups;)
      worker.run(task / groups, batch.start(task / groups), batch.tokens_of(task / groups),
                 task % groups);
  };
  memory.workers == 1 ? work(0) : options.executor(memory.workers, work);
  posenc::detail::add_scan_sums(call, to.learned, sequences);
}

POSENC_DETAIL_MIXERS void backward(const ScanInputs& in, const Operand& d_out, const State& before,
                                   State& d_state, const ScanGradients& to, const SelectiveScan& of,
                                   const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, in.u.tokens())};
  backward(in, d_out, before, d_state, to, RaggedBatch{.starts = starts}, of, options);
}

}  // namespace mixers

POSENC_NAMESPACE_END
