// SPDX-License-Identifier: MIT
//
// AnyExecutor: whichever executor the caller chose, held by value.
//
// Options carry one, so it has one type for all, and options are copied and kept: it holds the
// executor itself in a few bytes, never a pointer to it. Nothing is allocated, and nothing can
// outlive what it points to but a pool that the caller captured.
//
// Left alone it is the default executor of the translation unit: Serial, or what
// POSENC_EXECUTOR_OPENMP or POSENC_EXECUTOR_TBB says (see core/abi.hpp).
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/executor/executor.hpp>
#if defined(POSENC_EXECUTOR_OPENMP)
#include <posenc/executor/openmp.hpp>
#elif defined(POSENC_EXECUTOR_TBB)
#include <posenc/executor/tbb.hpp>
#endif

#include <cstddef>
#include <new>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

#if defined(POSENC_EXECUTOR_OPENMP)
using DefaultExecutor = OpenMP;
#elif defined(POSENC_EXECUTOR_TBB)
using DefaultExecutor = TBB;
#else
using DefaultExecutor = Serial;
#endif

/// Any executor that is trivially copyable and not larger than three pointers.
class AnyExecutor {
 public:
  AnyExecutor() noexcept { hold(DefaultExecutor{}); }

  /// Throws Error when the executor is wrong (OpenMP{.threads = -1}), before there is work for it.
  template <class E>
    requires(!std::same_as<E, AnyExecutor> && Executor<E>)
  AnyExecutor(const E& executor) {
    hold(executor);
    static_cast<void>(concurrency());
  }

  /// How many tasks may run at the same time.
  /// Throws Error when the executor says less than 1.
  [[nodiscard]] Index concurrency() const {
    const Index most = calls_->concurrency(object_);
    if (most < 1) {
      Problems problems;
      problems.add("concurrency() must be at least 1, got ", most, ".");
      problems.raise_if_any("posenc: an executor");
    }
    return most;
  }

  void operator()(Index tasks, TaskRef task) const { calls_->run(object_, tasks, task); }

 private:
  struct Calls {
    Index (*concurrency)(const std::byte*);
    void (*run)(const std::byte*, Index, TaskRef);
  };

  template <class E>
  struct As {
    static const E& held(const std::byte* object) {
      return *std::launder(reinterpret_cast<const E*>(object));
    }
    static Index concurrency(const std::byte* object) {
      return static_cast<Index>(held(object).concurrency());
    }
    static void run(const std::byte* object, Index tasks, TaskRef task) {
      held(object)(tasks, task);
    }
    static constexpr Calls calls{concurrency, run};
  };

  template <class E>
  void hold(const E& executor) noexcept {
    static_assert(std::is_trivially_copyable_v<E> && sizeof(E) <= sizeof(object_) &&
                      alignof(E) <= alignof(void*),
                  "posenc: an executor that options keep must be trivially copyable and at most "
                  "three pointers large: capture your pool by reference or by pointer, and keep it "
                  "alive as long as the executor.");
    ::new (static_cast<void*>(object_)) E(executor);
    calls_ = &As<E>::calls;
  }

  alignas(void*) std::byte object_[3 * sizeof(void*)] = {};
  const Calls* calls_;
};

POSENC_NAMESPACE_END
