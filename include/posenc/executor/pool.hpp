// SPDX-License-Identifier: MIT
//
// Pool: threads that the program has already.
//
//   posenc::Pool(4, [&pool](Index tasks, TaskRef task) { pool.run(tasks, task); })
//
// An engine with a thread pool of its own lends it to posenc by one callable. Whether tasks may
// themselves call posenc with the same pool is up to that pool: posenc never does so.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/executor/executor.hpp>

#include <utility>

POSENC_NAMESPACE_BEGIN

/// An executor of `threads` threads, made of run(tasks, task), which calls task(i) once for each i
/// in [0, tasks) and returns when all are done; it is not called when there are no tasks. To be
/// passed in options, `run` has to be small: let it capture the pool by reference or by pointer.
template <class Run>
class Pool {
  static_assert(std::invocable<const Run&, Index, TaskRef>,
                "posenc: a Pool is made of something that can be called with (Index tasks, TaskRef "
                "task), also when it is const.");

 public:
  /// Throws Error when `threads` is less than 1.
  Pool(Index threads, Run run) : threads_(threads), run_(std::move(run)) {
    Problems problems;
    problems.require(threads >= 1, "threads must be at least 1, got ", threads, ".");
    problems.raise_if_any("posenc::Pool");
  }

  [[nodiscard]] Index concurrency() const { return threads_; }

  void operator()(Index tasks, TaskRef task) const {
    if (tasks > 0) static_cast<void>(run_(tasks, task));
  }

 private:
  Index threads_;
  Run run_;
};

POSENC_NAMESPACE_END
