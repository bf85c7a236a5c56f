// SPDX-License-Identifier: MIT
//
// run_tasks: tasks on an executor, whose errors reach the caller.
#pragma once

#include <posenc/executor/any_executor.hpp>

#include <exception>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// Calls body(i) for each i in [0, tasks), at the same time where the executor does. Of what they throw, that
/// of the first task is thrown when all have ended.
template <class Body>
void run_tasks(const AnyExecutor& executor, Index tasks, const Body& body) {
  std::vector<std::exception_ptr> thrown(static_cast<std::size_t>(tasks));
  executor(tasks, [&](Index i) {
    try {
      body(i);
    } catch (...) {
      thrown[static_cast<std::size_t>(i)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& error : thrown)
    if (error) std::rethrow_exception(error);
}

}  // namespace lab

POSENC_NAMESPACE_END
