// SPDX-License-Identifier: MIT
#include <posenc/executor/pool.hpp>

#include "contract.hpp"
#include "pools.hpp"

using namespace posenc;

TEST_CASE("Pool: threads that wait for work") {
  WorkerPool pool(4);
  const Pool executor(4, [&pool](Index tasks, TaskRef task) { pool.run(tasks, task); });
  CHECK(executor.concurrency() == 4);
  for (int round = 0; round < 100; ++round) check_each_once(executor);
  check_at_the_same_time(executor);
  check_same_result(executor);
}

TEST_CASE("Pool: threads made for each call, also from within a task") {
  constexpr int threads = 3;
  const Pool executor(threads,
                      [](Index tasks, TaskRef task) { run_on_new_threads(threads, tasks, task); });
  check_each_once(executor);
  check_at_the_same_time(executor);
  check_same_result(executor);

  // How many threads that makes is up to the pool; here nobody waits for anybody.
  std::atomic<int> calls{0};
  executor(4, [&](Index) { executor(5, [&](Index) { ++calls; }); });
  CHECK(calls == 20);
}

TEST_CASE("Pool: is not called without tasks") {
  int calls = 0;
  const Pool executor(2, [&calls](Index tasks, TaskRef task) {
    ++calls;
    Serial{}(tasks, task);
  });
  executor(0, [](Index) {});
  CHECK(calls == 0);
  executor(1, [](Index) {});
  CHECK(calls == 1);
}

TEST_CASE("Pool: fewer than one thread is a sentence") {
  const auto pool_of = [](Index threads) {
    return sentence_of([&] { Pool(threads, [](Index, TaskRef) {}); });
  };
  CHECK(pool_of(1) == "");
  CHECK(pool_of(0) == "posenc::Pool: threads must be at least 1, got 0.");
  CHECK(pool_of(-2) == "posenc::Pool: threads must be at least 1, got -2.");
}
