// SPDX-License-Identifier: MIT
//
// Executor: how a call's work is spread over threads.
//
// posenc starts no threads of its own. A call that has work for several splits it into independent
// tasks and hands them to an executor: OpenMP (executor/openmp.hpp), TBB (executor/tbb.hpp), a pool
// of the caller's (Pool) or, unless something else was asked for, nobody (Serial). How the work is
// split may depend on concurrency(), but what is computed does not: results are the same, bit for
// bit, whatever the executor.
#pragma once

#include <posenc/core/types.hpp>

#include <concepts>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

/// A reference to a task, which is anything that can be called with an Index. It owns nothing and
/// is valid as long as the task is. The task must not throw: an exception ends the program.
class TaskRef {
 public:
  template <class Task>
    requires(!std::same_as<Task, TaskRef> && std::is_object_v<Task> &&
             std::invocable<const Task&, Index>)
  TaskRef(const Task& task) noexcept : task_(__builtin_addressof(task)), call_(call<Task>) {}

  void operator()(Index i) const noexcept { call_(task_, i); }

 private:
  template <class Task>
  static void call(const void* task, Index i) noexcept {
    static_cast<void>((*static_cast<const Task*>(task))(i));
  }

  const void* task_;
  void (*call_)(const void*, Index) noexcept;
};

/// What spreads tasks over threads.
///
///   executor.concurrency()   how many tasks may run at the same time, at least 1; asked anew for
///                            every call, because it may depend on who asks
///   executor(tasks, task)    calls task(i) exactly once for each i in [0, tasks), in any order and
///                            possibly at the same time, and returns when all of them are done.
///                            What the caller wrote before, the tasks see; what they wrote, the
///                            caller sees afterwards
///
/// Tasks do not throw. One may wait for another that has begun, as gradients do that are added in one order, and
/// never for one that has not: so tasks may run one after another, in any order, but a task that has begun must
/// get on while others wait. posenc calls no executor from within a task.
/// A wrong value in an executor is an Error from concurrency().
template <class E>
concept Executor =
    std::copy_constructible<E> && requires(const E& executor, Index tasks, TaskRef task) {
      { executor.concurrency() } -> std::convertible_to<Index>;
      executor(tasks, task);
    };

/// One task after the other, on the caller's thread.
struct Serial {
  [[nodiscard]] constexpr Index concurrency() const { return 1; }

  void operator()(Index tasks, TaskRef task) const {
    for (Index i = 0; i < tasks; ++i) task(i);
  }
};

POSENC_NAMESPACE_END
