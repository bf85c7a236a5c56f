// SPDX-License-Identifier: MIT
//
// run_tasks: tasks on an executor, whose errors reach the caller.
#pragma once

#include <posenc/executor/tasks.hpp>

#include <algorithm>
#include <exception>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// How many workers share so many tasks.
[[nodiscard]] inline Index workers_of(const AnyExecutor& executor, Index tasks) {
  return std::min(executor.concurrency(), tasks);
}

/// Calls body(task, worker) for each task in [0, tasks), at the same time where the executor does; a worker has one at
/// a time. Of what they throw, that of the first task is thrown when all have ended.
template <class Body>
void run_tasks(const AnyExecutor& executor, Index tasks, const Body& body) {
  std::vector<std::exception_ptr> thrown(static_cast<std::size_t>(tasks));
  posenc::detail::run_tasks(executor, workers_of(executor, tasks), tasks, [&](Index worker) {
    return [&, worker](Index i) {
      try {
        body(i, worker);
      } catch (...) {
        thrown[static_cast<std::size_t>(i)] = std::current_exception();
      }
    };
  });
  for (const std::exception_ptr& error : thrown)
    if (error) std::rethrow_exception(error);
}

}  // namespace lab

POSENC_NAMESPACE_END
