// SPDX-License-Identifier: MIT
//
// Team: threads that wait for each other, so that starting them costs a fraction of a microsecond
// and what is measured is the work.
#pragma once

#include <posenc/executor/pool.hpp>

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace bench {

/// Numbers of threads to measure with: one, and as many as the machine runs at a time.
inline std::vector<int> one_and_all_threads() {
  const int all = static_cast<int>(std::thread::hardware_concurrency());
  return all > 1 ? std::vector{1, all} : std::vector{1};
}

/// Keeps the calling thread on one processor, until the end of the scope: threads that wait for
/// each other must not end up behind each other.
#if defined(__linux__)
class Pinned {
 public:
  explicit Pinned(int thread) {
    sched_getaffinity(0, sizeof(before_), &before_);
    int skip = thread % CPU_COUNT(&before_), cpu = 0;
    while (!CPU_ISSET(cpu, &before_) || skip-- > 0) ++cpu;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
  }
  ~Pinned() { sched_setaffinity(0, sizeof(before_), &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_{};
};
#else
struct Pinned {
  explicit Pinned(int /*thread*/) {}
};
#endif

class Team {
 public:
  /// The caller is one of the threads.
  explicit Team(int threads) : size_(threads) {
    for (int i = 1; i < size_; ++i) others_.emplace_back([this, i] { serve(i); });
    if (threads > 1) pinned_.emplace(0);
  }
  ~Team() {
    start(0, nullptr);
    for (std::thread& other : others_) other.join();
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  [[nodiscard]] posenc::Index size() const { return size_; }

  /// task(i) for each i in [0, tasks), thread t taking t, t + size(), ...; returns when all are
  /// done.
  void run(posenc::Index tasks, const posenc::TaskRef& task) {
    if (size_ > 1) start(tasks, &task);
    for (posenc::Index i = 0; i < tasks; i += size_) task(i);
    wait([this] { return busy_.load(std::memory_order_acquire) == 0; });
  }

  /// The team as an executor.
  [[nodiscard]] auto executor() {
    return posenc::Pool(size_,
                        [this](posenc::Index tasks, posenc::TaskRef task) { run(tasks, task); });
  }

 private:
  template <class Done>
  static void wait(const Done& done) {
    constexpr int patience = 10000;
    for (int i = 0; !done(); ++i) {
      if (i > patience) {
        std::this_thread::yield();
        continue;
      }
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  }

  void start(posenc::Index tasks, const posenc::TaskRef* task) {
    tasks_ = tasks;
    task_ = task;
    busy_.store(size_ - 1, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
  }

  void serve(int thread) {
    const Pinned pinned(thread);
    for (std::uint32_t round = 0;; ++round) {
      wait([&] { return round_.load(std::memory_order_acquire) != round; });
      if (task_ == nullptr) return;
      for (posenc::Index i = thread; i < tasks_; i += size_) (*task_)(i);
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  const posenc::Index size_;
  alignas(64) std::atomic<std::uint32_t> round_{0};
  alignas(64) std::atomic<posenc::Index> busy_{0};
  posenc::Index tasks_ = 0;
  const posenc::TaskRef* task_ = nullptr;
  std::optional<Pinned> pinned_;
  std::vector<std::thread> others_;
};

}  // namespace bench
