// SPDX-License-Identifier: MIT
//
// A call of the prefill kernel, run by its workers.
#pragma once

#include <posenc/attention/prefill/relative_terms.hpp>
#include <posenc/attention/prefill/worker.hpp>
#include <posenc/executor/tasks.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Runs a call in memory of prefill_bytes().
template <class T>
POSENC_DETAIL_COLD void run_prefill(const PrefillCall<T>& call, Index concurrency,
                                    const AnyExecutor& executor, std::byte* workspace) {
  const Plan plan = prefill_plan(call.answers(), call.leaves, call.shape(), concurrency);
  const Index each = bytes_per_worker(call.answers(), call.leaves, plan, call.shape());
  Arena rest(workspace + each * plan.workers());
  const SharedSums<T> shared(plan, call.shape(), rest);
  for (Index item = 0; plan.parts > 1 && item < plan.tasks * plan.parts; ++item)
    new (&shared.arrived[item]) std::atomic_flag;
  run_tasks(executor, plan.workers(), plan.tasks * plan.parts,
            [&](Index w) { return PrefillWorker<T>(call, plan, shared, workspace + w * each); });
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void run_prefill<float>(const PrefillCall<float>&, Index, const AnyExecutor&,
                                            std::byte*);
POSENC_DETAIL_DOUBLE void run_prefill<double>(const PrefillCall<double>&, Index, const AnyExecutor&,
                                              std::byte*);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
