// SPDX-License-Identifier: MIT
//
// OpenMP: tasks on OpenMP's team of threads.
//
// Task i always goes to thread i modulo concurrency(): a task that comes back in the next call
// finds its data in the cache of its core, or in the memory of its socket if it touched them first.
// Dealt out in turn rather than in blocks, tasks that grow with i, like the rows of causal
// attention, still come to nearly equal shares. The team has the same size for any number of tasks,
// because GCC's runtime ends and starts threads whenever the size changes.
#pragma once

#if !defined(_OPENMP)
#error \
    "posenc/executor/openmp.hpp needs OpenMP: compile with -fopenmp (in CMake: link posenc::openmp), or do not include it and leave POSENC_EXECUTOR_OPENMP undefined."
#endif

#include <posenc/core/problems.hpp>
#include <posenc/executor/executor.hpp>

#include <omp.h>

POSENC_NAMESPACE_BEGIN

/// An executor of OpenMP's threads. Within a parallel region its tasks run one after the other on
/// the thread that asks, so that a program that is parallel already does not get a team per thread.
struct OpenMP {
  int threads = 0;  ///< 0: as many as OpenMP would take, omp_get_max_threads()

  /// Throws Error when `threads` is negative.
  [[nodiscard]] Index concurrency() const {
    if (threads < 0) {
      Problems problems;
      problems.add("threads must not be negative (0 means as many as OpenMP would take), got ",
                   threads, ".");
      problems.raise_if_any("posenc::OpenMP");
    }
    if (omp_in_parallel()) return 1;
    return threads > 0 ? threads : omp_get_max_threads();
  }

  /// Throws Error when `threads` is negative.
  void operator()(Index tasks, TaskRef task) const {
    const int team = static_cast<int>(concurrency());
    if (team == 1 || tasks <= 1) return Serial{}(tasks, task);
#pragma omp parallel for num_threads(team) schedule(static, 1)
    for (Index i = 0; i < tasks; ++i) task(i);
  }
};

POSENC_NAMESPACE_END
