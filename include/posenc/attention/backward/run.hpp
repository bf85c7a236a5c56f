// SPDX-License-Identifier: MIT
//
// A call for gradients, run by its workers: what is needed of every row, then all pairs.
#pragma once

#include <posenc/attention/backward/pairs.hpp>
#include <posenc/attention/backward/worker.hpp>
#include <posenc/executor/tasks.hpp>

#include <optional>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Queries and keys.
template <class T>
Index tokens_of_both(const BackwardCall<T>& call) {
  return call.forward.q.tokens + call.forward.keys.tokens;
}

/// Where a call keeps what its workers share, and they theirs.
template <class T>
struct BackwardMemory {
  T* delta = nullptr;           ///< [query][head]
  double* sums = nullptr;       ///< [set][sum], of parameters
  double* tokens = nullptr;     ///< [token learner][head][query, then key]
  Turns::Done* done = nullptr;  ///< [key head][block][chunk]
  std::byte* workers = nullptr;

  /// `each_worker`: bytes.
  POSENC_DETAIL_COLD BackwardMemory(const BackwardCall<T>& call, const BackwardPlan& plan,
                                    Index each_worker, Arena& arena) {
    delta = arena.take<T>(call.forward.q.tokens, call.forward.q.heads);
    sums = arena.take<double>(plan.sets(), plan.all_sums());
    tokens = arena.take<double>(plan.token_learners * call.forward.q.heads, tokens_of_both(call));
    done = arena.take<Turns::Done>(plan.kv_heads * plan.blocks, plan.chunks);
    workers = arena.take<std::byte>(plan.workers(), each_worker);
  }
};

/// How a call is divided, and how much memory that takes.
struct BackwardWork {
  std::optional<BackwardPlan> plan;  ///< none where sizes do not fit in memory
  Index each_worker = 0;             ///< bytes
  Index bytes = -1;                  ///< of all; -1: it does not fit in memory

  template <class T>
  POSENC_DETAIL_COLD BackwardWork(const BackwardCall<T>& call, Index concurrency, bool learns) {
    if (!has_usable_sizes(call.forward.shape())) return;
    plan.emplace(call, concurrency, learns);
    Arena worker(nullptr), all(nullptr);
    BackwardBuffers<T>(call, *plan, worker);
    each_worker = worker.used();
    if (each_worker < 0) return;
    BackwardMemory<T>(call, *plan, each_worker, all);
    bytes = all.used();
  }
};

template <class T>
void clear_row(const TensorView<T>& x, Index token, Index head) {
  if (x.channel_stride == 1) {
    std::fill_n(x.row(token, head), x.width, T{0});
    return;
  }
  for (Index c = 0; c < x.width; ++c) x(token, head, c) = 0;
}

/// delta = <d_out, out> of some rows, and zeros for their results.
template <class T>
void begin_rows(const BackwardCall<T>& call, T* delta, Index first, Index last) {
  for (Index t = first; t < last; ++t) {
    for (Index h = 0; t < call.out.tokens && h < call.out.heads; ++h) {
      const T* const d_out = call.d_out.plain_row(t, h);
      T& sum = delta[t * call.out.heads + h];
      if (call.d_out.channel_stride == 1 && call.out.channel_stride == 1) {
        sum = gradient_leaves<T>(call.forward.leaves.level)
                  .dot(call.out.width, d_out, call.out.row(t, h));
      } else {
        sum = 0;
        for (Index c = 0; c < call.out.width; ++c)
          sum += d_out[c * call.d_out.channel_stride] * call.out(t, h, c);
      }
      clear_row(call.d_q, t, h);
    }
    for (Index h = 0; t < call.d_k.tokens && h < call.d_k.heads; ++h) {
      clear_row(call.d_k, t, h);
      clear_row(call.d_v, t, h);
    }
  }
}

/// Rotates the results of some rows back.
template <class T>
POSENC_DETAIL_COLD void turn_rows(const BackwardCall<T>& call, Index first, Index last) {
  const Rotary& rotary = *call.forward.asked.rotary;
  const auto turn = [&](const TensorView<T>& x, const Positions& at, const Turn& how) {
    const Index tokens = std::min(last, x.tokens) - first;
    if (tokens <= 0) return;
    for_rates(rotary, [&](const Rotary& own, const HeadShare& share) {
      const TensorView<T> rows = tokens_of(heads_of(x, share), first, tokens);
      call.forward.leaves.rotate(own, own.region_angles(0), how,
                                 at.subspan(static_cast<std::size_t>(first),
                                            static_cast<std::size_t>(tokens)),
                                 rows, rows);
    });
  };
  turn(call.d_q, call.forward.query, turn_of_query_gradient(rotary));
  turn(call.d_k, call.key, turn_of_key_gradient());
  if (call.answers().facts().rotates_values) turn(call.d_v, call.key, turn_of_value_gradient());
}

/// The gradient of a sink's logit is that of its weight, which has no value: -delta times the weight.
template <class T>
POSENC_DETAIL_COLD void add_sink_gradients(const BackwardCall<T>& call, const T* delta,
                                           double* sums) {
  for_each_learner(call.answers(), sums, [&](const Stage& stage, std::span<double> to) {
    const auto& [self, ask] = stage;
    if (!ask->sink_logit_gradient) return;
    for (Index h = 0; h < call.out.heads; ++h) {
      const auto logit = static_cast<double>(static_cast<T>(ask->sink_logit(self, h)));
      if (logit == -std::numeric_limits<double>::infinity()) continue;  // no weight
      double sum = 0;
      for (Index t = 0; t < call.out.tokens; ++t) {
        const Index row = t * call.out.heads + h;
        const double weight =
            std::exp(logit - static_cast<double>(call.lse[static_cast<std::size_t>(row)]));
        if (weight != 0) sum -= weight * static_cast<double>(delta[row]);
      }
      ask->sink_logit_gradient(self, h, sum, to);
    }
  });
}

/// Values that were rotated come out rotated back by their query. (Rows without weights have no gradient.)
template <class T>
POSENC_DETAIL_COLD void add_output_frequencies(const BackwardCall<T>& call, double* sums) {
  const Rotary& rotary = *call.forward.asked.rotary;
  const auto& d_out = call.d_out;
  if (call.forward.keys.tokens == 0) return;
  const Origin origin = origin_of(rotary, call.key, 0);
  const Index group = call.out.heads / call.d_k.heads;
  for (Index t = 0; t < call.out.tokens; ++t)
    for (Index h = 0; h < call.out.heads; ++h)
      if (call.lse[static_cast<std::size_t>(t * call.out.heads + h)] !=
          -std::numeric_limits<T>::infinity())
        add_frequency_gradients<T>(
            gradient_leaves<T>(call.forward.leaves.level), rotary.of(h / group),
            {.x = tokens_of(head_of(call.out, h), t, 1),
             .d = TensorView<const T>(d_out.plain_row(t, h), 1, 1, d_out.width, d_out.token_stride,
                                      0, d_out.channel_stride),
             .at = call.forward.query.subspan(static_cast<std::size_t>(t), 1),
             .origin = origin,
             .step = -1},
            sums);
}

/// From all sums, which are those of the first set by now, to the parameters; those of tokens are kept where whoever
/// calls learns from them.
template <class T>
POSENC_DETAIL_COLD void learn(const BackwardCall<T>& call, const BackwardPlan& plan,
                              const BackwardMemory<T>& memory, bool keeps_tokens) {
  add_sink_gradients(call, memory.delta, memory.sums);
  if (plan.frequencies > 0 && call.answers().facts().rotates_values && call.out.tokens > 0)
    add_output_frequencies(call, memory.sums + plan.sums);
  double* to = call.parameters.data();
  const auto add = [&](const double* sums, Index count) {
    for (Index i = 0; i < count; ++i) *to++ += sums[i];
  };
  Index token_learner = 0;
  for_each_learner(call.answers(), memory.sums, [&](const Stage& stage, std::span<double> sums) {
    const auto& [self, ask] = stage;
    const Index count = num_parameters(stage);
    if (ask->token_bias_gradient && keeps_tokens) return;
    if (ask->token_bias_gradient) {
      sums_by_token(call).learn(token_learner++, stage, {to, static_cast<std::size_t>(count)});
      to += count;
      return;
    }
    if (!ask->gradient_of_sums) return add(sums.data(), std::ssize(sums));
    ask->gradient_of_sums(self, sums, {to, static_cast<std::size_t>(count)});
    to += count;
  });
  add(memory.sums + plan.sums, plan.frequencies);
}

template <class T>
POSENC_DETAIL_COLD void run_backward(BackwardCall<T> call, const BackwardWork& work,
                                     std::byte* workspace, const AnyExecutor& executor) {
  const BackwardPlan& plan = *work.plan;
  Arena arena(workspace);
  const BackwardMemory<T> memory(call, plan, work.each_worker, arena);
  const bool keeps_tokens = call.tokens != nullptr;
  if (!keeps_tokens) call.tokens = memory.tokens;
  const auto for_rows = [&](const auto& f) {  // f(first, last)
    constexpr Index step = 256;
    const Index tokens = std::max(call.forward.q.tokens, call.forward.keys.tokens),
                tasks = tokens / step + 1;
    run_tasks(executor, std::min(plan.tiles.most_workers, tasks), tasks, [&](Index) {
      return [&](Index i) { f(i * step, std::min(tokens, (i + 1) * step)); };
    });
  };
  for_rows([&](Index first, Index last) { begin_rows(call, memory.delta, first, last); });
  const Index n = plan.all_sums();
  std::fill_n(memory.sums, plan.sets() * n, 0.0);
  std::fill_n(call.tokens, plan.token_learners * call.forward.q.heads * tokens_of_both(call), 0.0);
  for (Index i = 0; i < plan.pairs(); ++i) new (&memory.done[i]) Turns::Done(call.forward.q.tokens);
  run_tasks(executor, plan.workers(), plan.tasks(), [&](Index w) {
    return [&, pairs = Pairs(plan.kv_heads, plan.blocks, plan.block, plan.chunks, plan.tiles.chunk),
            worker = BackwardWorker<T>(call, plan, memory.delta,
                                       memory.workers + w * work.each_worker)](Index task) mutable {
      for (Index i = task; i < plan.pairs(); i += plan.tasks()) {
        const auto [kv_head, block, chunk] = pairs.at(i);
        const Index set = (kv_head * plan.chunks + chunk) / plan.together;
        worker(kv_head, block, chunk,
               Turns(memory.done + kv_head * plan.blocks * plan.chunks, plan.blocks, plan.chunks,
                     block, chunk),
               n > 0 ? memory.sums + set * n : nullptr);
      }
    };
  });
  if (plan.turns_last) for_rows([&](Index first, Index last) { turn_rows(call, first, last); });
  if (n + plan.token_learners == 0 || plan.sets() == 0) return;
  for (Index set = 1; set < plan.sets(); ++set)
    for (Index i = 0; i < n; ++i) memory.sums[i] += memory.sums[set * n + i];
  learn(call, plan, memory, keeps_tokens);
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void run_backward<float>(BackwardCall<float>, const BackwardWork&, std::byte*,
                                             const AnyExecutor&);
POSENC_DETAIL_DOUBLE void run_backward<double>(BackwardCall<double>, const BackwardWork&,
                                               std::byte*, const AnyExecutor&);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
