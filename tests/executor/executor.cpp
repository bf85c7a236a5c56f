// SPDX-License-Identifier: MIT
#include <posenc/executor/any_executor.hpp>

#include "contract.hpp"

#include <type_traits>

using namespace posenc;

namespace executor_cases {

/// As large as an executor in options may be; it counts the calls in the caller's memory.
struct Counting {
  int* calls = nullptr;
  const char* name = "";
  Index threads = 1;

  [[nodiscard]] Index concurrency() const { return threads; }
  void operator()(Index tasks, TaskRef task) const {
    ++*calls;
    Serial{}(tasks, task);
  }
};

/// An executor need not speak of Index.
struct Plain {
  [[nodiscard]] int concurrency() const { return 3; }
  template <class Task>
  bool operator()(long tasks, const Task& task) const {
    for (long i = tasks; i-- > 0;) task(i);
    return true;
  }
};

struct NoConcurrency {
  void operator()(Index, TaskRef) const {}
};
struct NotConst {
  [[nodiscard]] Index concurrency() const { return 1; }
  void operator()(Index, TaskRef) {}
};

static_assert(Executor<Serial> && Executor<AnyExecutor> && Executor<Counting> && Executor<Plain>);
static_assert(!Executor<NoConcurrency> && !Executor<NotConst> && !Executor<int>);
static_assert(std::is_trivially_copyable_v<AnyExecutor> && std::is_trivially_copyable_v<TaskRef>);
static_assert(sizeof(Counting) == 3 * sizeof(void*) && sizeof(AnyExecutor) == 4 * sizeof(void*));
static_assert(sizeof(TaskRef) == 2 * sizeof(void*));
static_assert(std::is_nothrow_default_constructible_v<AnyExecutor>);
static_assert(noexcept(std::declval<const TaskRef&>()(0)));
static_assert(!std::is_constructible_v<AnyExecutor, int>);
static_assert(!std::is_constructible_v<TaskRef, int>);
static_assert(!std::is_constructible_v<TaskRef, void (*)()>);

TEST_CASE("TaskRef: calls what it refers to") {
  Index sum = 0;
  const auto add = [&sum](Index i) { return sum += i; };  // what it returns is nobody's business
  const TaskRef task = add;
  const TaskRef copy = task;
  task(3);
  copy(4);
  CHECK(sum == 7);
}

TEST_CASE("TaskRef: a function by its pointer") {
  static Index seen = -1;
  void (*const remember)(Index) = [](Index i) { seen = i; };
  const TaskRef task = remember;
  task(5);
  CHECK(seen == 5);
}

TEST_CASE("Serial: one task after the other, on this thread") {
  std::vector<Index> order;
  const auto here = std::this_thread::get_id();
  bool all_here = true;
  Serial{}(5, [&](Index i) {
    order.push_back(i);
    all_here = all_here && std::this_thread::get_id() == here;
  });
  CHECK(order == std::vector<Index>{0, 1, 2, 3, 4});
  CHECK(all_here);
  CHECK(Serial{}.concurrency() == 1);
  check_each_once(Serial{});
  check_nested(Serial{});
}

TEST_CASE("AnyExecutor: any type that has the two members") {
  const AnyExecutor executor = Plain{};
  CHECK(executor.concurrency() == 3);
  std::vector<Index> order;
  executor(3, [&](Index i) { order.push_back(i); });
  CHECK(order == std::vector<Index>{2, 1, 0});
  check_each_once(Plain{});
  check_same_result(Plain{});
}

TEST_CASE("AnyExecutor: holds a copy, and so do its copies") {
  int calls = 0;
  AnyExecutor executor;  // the default, until it is assigned to
  {
    Counting counting{.calls = &calls, .name = "counting", .threads = 5};
    executor = counting;
    counting = {};  // of no consequence for the copy
  }
  const AnyExecutor copy = executor;
  executor = Serial{};
  CHECK(executor.concurrency() == 1);
  CHECK(copy.concurrency() == 5);
  check_each_once(copy);
  CHECK(calls == 4);
  check_each_once(executor);
  CHECK(calls == 4);
}

TEST_CASE("AnyExecutor: concurrency below 1 is a sentence") {
  int calls = 0;
  const auto hold = [&](Index threads) {
    return sentence_of([&] { AnyExecutor{Counting{.calls = &calls, .threads = threads}}; });
  };
  CHECK(hold(1) == "");
  CHECK(hold(0) == "posenc: an executor: concurrency() must be at least 1, got 0.");
  CHECK(hold(-3) == "posenc: an executor: concurrency() must be at least 1, got -3.");

  struct Changing {
    const Index* threads;
    [[nodiscard]] Index concurrency() const { return *threads; }
    void operator()(Index tasks, TaskRef task) const { Serial{}(tasks, task); }
  };
  Index threads = 2;
  const AnyExecutor executor = Changing{&threads};
  CHECK(executor.concurrency() == 2);
  threads = 0;
  CHECK_THROWS_AS(executor.concurrency(), Error);
}

TEST_CASE("AnyExecutor: left alone it is the default executor") {
  CHECK(AnyExecutor{}.concurrency() == DefaultExecutor{}.concurrency());
  check_each_once({});
  check_same_result({});
}

}  // namespace executor_cases
