// SPDX-License-Identifier: MIT
//
// TBB: tasks on the threads of oneTBB.
//
// Up to concurrency() tasks are equal shares of something, often of memory: the static partitioner
// gives each to the same thread in every call, which finds its data where it left them. With more
// tasks than threads the shares are meant to differ, and any thread that is free takes the next.
#pragma once

#if !__has_include(<tbb/parallel_for.h>)
#error \
    "posenc/executor/tbb.hpp needs oneTBB: install it (Debian: libtbb-dev; in CMake: link posenc::tbb), or do not include it and leave POSENC_EXECUTOR_TBB undefined."
#endif

#include <posenc/executor/executor.hpp>

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

/// An executor of TBB's threads. Tasks that call it again share the threads that there are.
struct TBB {
  ::tbb::task_arena* arena = nullptr;  ///< nullptr: the arena of the thread that calls

  /// The threads of the arena, or fewer where a tbb::global_control allows fewer.
  [[nodiscard]] Index concurrency() const {
    const int slots = arena ? arena->max_concurrency() : ::tbb::this_task_arena::max_concurrency();
    const auto allowed =
        ::tbb::global_control::active_value(::tbb::global_control::max_allowed_parallelism);
    return std::min(static_cast<Index>(slots), static_cast<Index>(allowed));
  }

  void operator()(Index tasks, TaskRef task) const {
    if (tasks <= 1) return Serial{}(tasks, task);
    const auto run = [&, equal = tasks <= concurrency()] {
      // Isolated: while it waits, this thread takes no tasks of an outer loop that it is part of.
      // One of those could find thread-local state half changed, or a mutex held below it.
      ::tbb::this_task_arena::isolate([&] {
        const ::tbb::blocked_range<Index> all(0, tasks, 1);
        const auto each = [&](const ::tbb::blocked_range<Index>& some) {
          for (Index i = some.begin(); i < some.end(); ++i) task(i);
        };
        if (equal)
          ::tbb::parallel_for(all, each, ::tbb::static_partitioner());
        else
          ::tbb::parallel_for(all, each, ::tbb::simple_partitioner());
      });
    };
    arena ? arena->execute(run) : run();
  }
};

POSENC_NAMESPACE_END
