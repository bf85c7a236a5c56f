// SPDX-License-Identifier: MIT
//
// A call for gradients, run by its workers: what is needed of every row, then phase after phase.
#pragma once

#include <posenc/attention/backward/worker.hpp>
#include <posenc/executor/tasks.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The memory of a call.
template <class T>
struct BackwardMemory {
  T* delta = nullptr;            ///< [query][head]
  double* parameters = nullptr;  ///< [task of a phase][parameter]
  std::byte* workers = nullptr;
  Index bytes = 0;        ///< of all; -1: it does not fit in memory
  Index each_worker = 0;  ///< bytes

  BackwardMemory(const BackwardCall<T>& call, const BackwardPlan& plan, std::byte* workspace) {
    Arena measure(nullptr);
    BackwardBuffers<T>(call.answers(), plan, call.forward.shape(), measure);
    each_worker = measure.used();
    Arena arena(workspace);
    delta = arena.take<T>(call.forward.q.tokens, call.forward.q.heads);
    parameters = arena.take<double>(plan.tasks(), plan.parameters);
    workers = arena.take<std::byte>(plan.workers(), std::max<Index>(each_worker, 0));
    bytes = each_worker < 0 ? -1 : arena.used();
  }
};

/// Bytes that a call needs, or -1 when that does not fit in memory.
template <class T>
Index backward_bytes(const BackwardCall<T>& call, Index concurrency, Index parameters) {
  if (!has_usable_sizes(call.forward.shape())) return -1;
  return BackwardMemory<T>(call, BackwardPlan(call, concurrency, parameters), nullptr).bytes;
}

/// delta = <d_out, out> of some rows, and zeros for their results.
template <class T>
void begin_rows(const BackwardCall<T>& call, T* delta, Index first, Index last) {
  for (Index t = first; t < last; ++t) {
    for (Index h = 0; t < call.out.tokens && h < call.out.heads; ++h) {
      const T* const d_out = call.d_out.plain_row(t, h);
      T sum = 0;
      for (Index c = 0; c < call.out.width; ++c)
        sum += d_out[c * call.d_out.channel_stride] * call.out(t, h, c);
      delta[t * call.out.heads + h] = sum;
      for (Index c = 0; c < call.d_q.width; ++c) call.d_q(t, h, c) = 0;
    }
    for (Index h = 0; t < call.d_k.tokens && h < call.d_k.heads; ++h) {
      for (Index c = 0; c < call.d_k.width; ++c) call.d_k(t, h, c) = 0;
      for (Index c = 0; c < call.d_v.width; ++c) call.d_v(t, h, c) = 0;
    }
  }
}

/// The gradient of a sink's logit is that of its weight, which has no value: -delta times the weight.
template <class T>
void add_sink_gradients(const BackwardCall<T>& call, const T* delta) {
  for_each_learner(call.answers(), call.parameters.data(),
                   [&](const Stage& stage, std::span<double> parameters) {
                     const auto& [self, ask] = stage;
                     if (!ask->sink_logit_gradient) return;
                     for (Index h = 0; h < call.out.heads; ++h) {
                       const auto logit =
                           static_cast<double>(static_cast<T>(ask->sink_logit(self, h)));
                       if (logit == -std::numeric_limits<double>::infinity())
                         continue;  // no weight
                       double sum = 0;
                       for (Index t = 0; t < call.out.tokens; ++t) {
                         const Index row = t * call.out.heads + h;
                         const double weight = std::exp(
                             logit - static_cast<double>(call.lse[static_cast<std::size_t>(row)]));
                         if (weight != 0) sum -= weight * static_cast<double>(delta[row]);
                       }
                       ask->sink_logit_gradient(self, h, sum, parameters);
                     }
                   });
}

template <class T>
void run_backward(const BackwardCall<T>& call, const BackwardPlan& plan,
                  const BackwardMemory<T>& memory, const AnyExecutor& executor) {
  const Index tokens = std::max(call.forward.q.tokens, call.forward.keys.tokens);
  constexpr Index step = 256;
  run_tasks(executor, std::min(plan.tiles.most_workers, tokens / step + 1), tokens / step + 1,
            [&](Index) {
              return [&](Index i) {
                begin_rows(call, memory.delta, i * step, std::min(tokens, (i + 1) * step));
              };
            });
  const Index p = plan.parameters;
  std::fill_n(memory.parameters, plan.tasks() * p, 0.0);
  for (Index phase = 0; phase < plan.phases; ++phase)
    run_tasks(executor, plan.workers(), plan.tasks(), [&](Index w) {
      return [&, worker = BackwardWorker<T>(call, plan, memory.delta,
                                            memory.workers + w * memory.each_worker)](
                 Index task) mutable {
        for (Index pair = task * plan.together; pair < (task + 1) * plan.together; ++pair) {
          const Index chunk = pair % plan.phases;
          const Index block = (phase - chunk + plan.phases) % plan.phases;
          if (chunk < plan.chunks && block < plan.blocks)
            worker(pair / plan.phases, block, chunk,
                   p > 0 ? memory.parameters + task * p : nullptr);
        }
      };
    });
  for (Index task = 0; task < plan.tasks(); ++task)
    for (Index i = 0; i < p; ++i)
      call.parameters[static_cast<std::size_t>(i)] += memory.parameters[task * p + i];
  if (p > 0) add_sink_gradients(call, memory.delta);
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void run_backward<float>(const BackwardCall<float>&, const BackwardPlan&,
                                             const BackwardMemory<float>&, const AnyExecutor&);
POSENC_DETAIL_DOUBLE void run_backward<double>(const BackwardCall<double>&, const BackwardPlan&,
                                               const BackwardMemory<double>&, const AnyExecutor&);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
