// SPDX-License-Identifier: MIT
//
// run_tasks: workers share a list of tasks; whoever is free takes the next.
#pragma once

#include <posenc/executor/any_executor.hpp>

#include <atomic>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Makes `workers` workers, each on a thread of its own where there are several, and lets them run the
/// tasks 0 to tasks - 1: make(w) returns worker w, a function of a task. Nothing may throw.
template <class Make>
void run_tasks(const AnyExecutor& executor, Index workers, Index tasks, const Make& make) {
  std::atomic<Index> next{0};
  const auto work = [&](Index w) {
    auto worker = make(w);
    for (Index task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) worker(task);
  };
  if (workers <= 1)
    work(0);
  else
    executor(workers, work);
}

}  // namespace detail

POSENC_NAMESPACE_END
