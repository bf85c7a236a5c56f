// SPDX-License-Identifier: MIT
//
// Two pools as a user might have them, without a word of posenc in them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

/// Threads that wait for work from one caller at a time; the caller works too.
class WorkerPool {
 public:
  explicit WorkerPool(int threads) {
    for (int t = 1; t < threads; ++t) workers_.emplace_back([this] { work(); });
  }
  ~WorkerPool() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void run(std::ptrdiff_t tasks, const std::function<void(std::ptrdiff_t)>& task) {
    {
      const std::lock_guard lock(mutex_);
      task_ = &task;
      tasks_ = tasks;
      next_ = 0;
      busy_ = workers_.size();
      ++round_;
    }
    wake_.notify_all();
    take_tasks();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void take_tasks() {
    for (std::ptrdiff_t i = next_++; i < tasks_; i = next_++) (*task_)(i);
  }

  void work() {
    std::size_t seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return ending_ || round_ != seen; });
      if (ending_) return;
      seen = round_;
      lock.unlock();
      take_tasks();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> workers_{};
  std::mutex mutex_{};
  std::condition_variable wake_{}, done_{};
  const std::function<void(std::ptrdiff_t)>* task_ = nullptr;
  std::ptrdiff_t tasks_ = 0;
  std::atomic<std::ptrdiff_t> next_{0};
  std::size_t busy_ = 0, round_ = 0;
  bool ending_ = false;
};

/// Threads made for each call: the plainest pool, and one that may be used from within itself.
template <class Task>
void run_on_new_threads(int threads, std::ptrdiff_t tasks, const Task& task) {
  std::atomic<std::ptrdiff_t> next{0};
  const auto work = [&] {
    for (std::ptrdiff_t i = next++; i < tasks; i = next++) task(i);
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}
