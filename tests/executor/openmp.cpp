// SPDX-License-Identifier: MIT
//
// A program of its own, compiled with OpenMP.
#include <posenc/executor/openmp.hpp>

#include "contract.hpp"

using namespace posenc;

static_assert(Executor<OpenMP>);

TEST_CASE("OpenMP: each task once, on several threads") {
  for (const int threads : {0, 1, 2, 5}) {
    CAPTURE(threads);
    const AnyExecutor executor = OpenMP{.threads = threads};
    CHECK(executor.concurrency() == (threads ? threads : omp_get_max_threads()));
    check_each_once(executor);
    check_same_result(executor);
  }
  check_at_the_same_time(OpenMP{.threads = 2});
}

TEST_CASE("OpenMP: task i goes to thread i modulo concurrency, in every call") {
  constexpr int threads = 3;
  for (const Index tasks : {2, 3, 20, 3})
    for (int call = 0; call < 2; ++call) {
      std::vector<int> thread(static_cast<std::size_t>(tasks), -1);
      OpenMP{.threads = threads}(tasks, [&](Index i) {
        thread[static_cast<std::size_t>(i)] = omp_get_thread_num();
      });
      for (Index i = 0; i < tasks; ++i) CHECK(thread[static_cast<std::size_t>(i)] == i % threads);
    }
}

TEST_CASE("OpenMP: within a parallel region it is serial") {
  const OpenMP executor{.threads = 4};
  const AnyExecutor any = executor;
  const int levels = omp_get_max_active_levels();
  omp_set_max_active_levels(3);  // OpenMP itself would nest
  std::atomic<int> concurrent{0}, elsewhere{0};
#pragma omp parallel num_threads(3)
  {
    if (executor.concurrency() != 1 || any.concurrency() != 1 ||
        AnyExecutor(executor).concurrency() != 1)
      ++concurrent;
    const auto here = std::this_thread::get_id();
    any(20, [&](Index) {
      if (std::this_thread::get_id() != here) ++elsewhere;
    });
  }
  check_nested(executor);
  omp_set_max_active_levels(levels);
  CHECK(concurrent == 0);
  CHECK(elsewhere == 0);
  CHECK(executor.concurrency() == 4);
}

TEST_CASE("OpenMP: a negative number of threads is a sentence") {
  const std::string sentence =
      "posenc::OpenMP: threads must not be negative (0 means as many as OpenMP would take), got "
      "-2.";
  const OpenMP wrong{.threads = -2};
  CHECK(sentence_of([&] { static_cast<void>(wrong.concurrency()); }) == sentence);
  CHECK(sentence_of([&] { wrong(1, [](Index) {}); }) == sentence);
  CHECK(sentence_of([&] { AnyExecutor{wrong}; }) == sentence);
}
