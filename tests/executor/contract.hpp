// SPDX-License-Identifier: MIT
//
// What every executor has to do, checked the same way for all.
#pragma once

#include <posenc/executor/chunks.hpp>

#include "../support/catch.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

/// Counts how many tasks run at the same time, and remembers the most.
class Running {
 public:
  void enter() noexcept {
    const int now = ++now_;
    int most = most_.load();
    while (most < now && !most_.compare_exchange_weak(most, now)) {
    }
  }
  void leave() noexcept { --now_; }
  [[nodiscard]] int most() const { return most_; }

 private:
  std::atomic<int> now_{0};
  std::atomic<int> most_{0};
};

/// Each task exactly once, its writes visible afterwards, and no more at a time than promised.
inline void check_each_once(const posenc::AnyExecutor& executor) {
  using posenc::Index;
  for (const Index tasks : {0, 1, 7, 1000}) {
    CAPTURE(tasks);
    std::vector<int> calls(static_cast<std::size_t>(tasks));  // not atomic: each task has its own
    Running running;
    executor(tasks, [&](Index i) {
      running.enter();
      ++calls[static_cast<std::size_t>(i)];
      running.leave();
    });
    CHECK(std::count(calls.begin(), calls.end(), 1) == tasks);
    CHECK(running.most() <= executor.concurrency());
  }
}

/// Two tasks that both wait until the other has started: only two threads can do that.
inline void check_at_the_same_time(const posenc::AnyExecutor& executor) {
  REQUIRE(executor.concurrency() >= 2);
  std::atomic<int> started{0}, met{0};
  executor(2, [&](posenc::Index) {
    ++started;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (started < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    if (started == 2) ++met;
  });
  CHECK(met == 2);
}

/// A task that uses the executor again: all is done, by no more threads than there were.
inline void check_nested(const posenc::AnyExecutor& executor) {
  using posenc::Index;
  constexpr Index outer = 6, inner = 50;
  std::vector<int> calls(outer * inner);
  Running running;
  executor(outer, [&](Index o) {
    executor(inner, [&](Index i) {
      running.enter();
      ++calls[static_cast<std::size_t>(o * inner + i)];
      std::this_thread::yield();
      running.leave();
    });
  });
  CHECK(std::count(calls.begin(), calls.end(), 1) == outer * inner);
  CHECK(running.most() <= executor.concurrency());
}

/// A job without reductions, as posenc's are.
inline std::vector<float> job(const posenc::AnyExecutor& executor) {
  using posenc::Index;
  std::vector<float> out(10'007);
  posenc::for_chunks(executor, static_cast<Index>(out.size()), 16, [&](Index first, Index last) {
    for (Index i = first; i < last; ++i)
      out[static_cast<std::size_t>(i)] = std::sin(static_cast<float>(i)) / 3;
  });
  return out;
}

/// The same numbers, to the last bit, as from one thread.
inline void check_same_result(const posenc::AnyExecutor& executor) {
  CHECK(job(executor) == job(posenc::Serial{}));
}

/// The sentence of the Error that `f` throws; empty when it throws none.
template <class F>
std::string sentence_of(const F& f) {
  try {
    f();
  } catch (const posenc::Error& error) {
    return error.what();
  }
  return "";
}
