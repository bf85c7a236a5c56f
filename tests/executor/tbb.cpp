// SPDX-License-Identifier: MIT
//
// A program of its own, linked with TBB.
#include <posenc/executor/tbb.hpp>

#include "contract.hpp"

#include <tbb/global_control.h>

using namespace posenc;

static_assert(Executor<TBB>);

namespace tbb_cases {

/// Lets TBB have so many threads whatever the machine has.
class Allowed {
 public:
  explicit Allowed(std::size_t threads)
      : control_(tbb::global_control::max_allowed_parallelism, threads) {}

 private:
  tbb::global_control control_;
};

TEST_CASE("TBB: each task once, on several threads") {
  const Allowed threads(4);
  check_each_once(TBB{});
  check_same_result(TBB{});
  for (const int slots : {1, 2, 4}) {
    CAPTURE(slots);
    tbb::task_arena arena(slots);
    const AnyExecutor executor = TBB{&arena};
    CHECK(executor.concurrency() == slots);
    check_each_once(executor);
    check_nested(executor);
    check_same_result(executor);
  }
  tbb::task_arena arena(2);
  check_at_the_same_time(TBB{&arena});
}

TEST_CASE("TBB: concurrency is that of the arena, as far as threads are allowed") {
  const Allowed threads(3);
  tbb::task_arena wide(8), narrow(2);
  CHECK(TBB{&wide}.concurrency() == 3);
  CHECK(TBB{&narrow}.concurrency() == 2);
  CHECK(TBB{}.concurrency() == std::min(3, tbb::this_task_arena::max_concurrency()));
  narrow.execute([] { CHECK(TBB{}.concurrency() == 2); });
  {
    const Allowed one(1);
    CHECK(TBB{&wide}.concurrency() == 1);
  }
}

TEST_CASE("TBB: tasks run in the arena") {
  const Allowed threads(4);
  tbb::task_arena arena(2);
  std::atomic<int> outside{0};
  TBB{&arena}(50, [&](Index) {
    if (tbb::this_task_arena::max_concurrency() != 2) ++outside;
  });
  CHECK(outside == 0);
}

TEST_CASE("TBB: a thread that waits for its tasks takes no others") {
  const Allowed threads(4);
  tbb::task_arena arena(4);
  const TBB executor{&arena};
  static thread_local bool busy = false;
  std::atomic<int> interrupted{0};
  for (int round = 0; round < 20; ++round)
    executor(64, [&](Index) {
      if (busy) ++interrupted;
      busy = true;
      executor(16, [](Index) { std::this_thread::sleep_for(std::chrono::microseconds(20)); });
      busy = false;
    });
  CHECK(interrupted == 0);
}

}  // namespace tbb_cases
