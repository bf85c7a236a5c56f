// SPDX-License-Identifier: MIT
#include <posenc/executor/chunks.hpp>
#include <posenc/executor/pool.hpp>

#include "contract.hpp"
#include "pools.hpp"

#include <mutex>
#include <utility>

using namespace posenc;

namespace chunks_cases {

using Ranges = std::vector<std::pair<Index, Index>>;

/// One thread that claims to be many.
struct Pretending {
  Index threads;
  [[nodiscard]] Index concurrency() const { return threads; }
  void operator()(Index tasks, TaskRef task) const { Serial{}(tasks, task); }
};

/// An executor that must not be asked.
struct Untouched {
  bool* touched;
  [[nodiscard]] Index concurrency() const {
    *touched = true;
    return 8;
  }
  void operator()(Index tasks, TaskRef task) const {
    *touched = true;
    Serial{}(tasks, task);
  }
};

Ranges ranges_of(const AnyExecutor& executor, Index items, Index least) {
  Ranges ranges;
  std::mutex mutex;
  for_chunks(executor, items, least, [&](Index first, Index last) {
    const std::lock_guard lock(mutex);
    ranges.emplace_back(first, last);
  });
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

TEST_CASE("for_chunks: a few examples") {
  CHECK(ranges_of(Pretending{4}, 10, 1) == Ranges{{0, 3}, {3, 6}, {6, 8}, {8, 10}});
  CHECK(ranges_of(Pretending{4}, 10, 3) == Ranges{{0, 4}, {4, 7}, {7, 10}});
  CHECK(ranges_of(Pretending{4}, 10, 6) == Ranges{{0, 10}});
  CHECK(ranges_of(Pretending{4}, 2, 1) == Ranges{{0, 1}, {1, 2}});
  CHECK(ranges_of(Pretending{4}, 2, 100) == Ranges{{0, 2}});
  CHECK(ranges_of(Pretending{4}, 0, 1).empty());
}

TEST_CASE("for_chunks: covers exactly, in nearly equal ranges that are long enough") {
  for (Index threads = 1; threads <= 9; ++threads)
    for (Index items = 1; items <= 60; ++items)
      for (const Index least : {1, 2, 5, 16, 61}) {
        CAPTURE(threads, items, least);
        const Ranges ranges = ranges_of(Pretending{threads}, items, least);
        Index end = 0, shortest = items, longest = 0;
        bool gapless = true;
        for (const auto& [first, last] : ranges) {
          gapless = gapless && first == end;
          end = last;
          shortest = std::min(shortest, last - first);
          longest = std::max(longest, last - first);
        }
        REQUIRE(gapless);
        REQUIRE(end == items);
        REQUIRE(longest - shortest <= 1);
        REQUIRE(shortest >= std::min(least, items));
        // As many ranges as the two limits allow.
        REQUIRE(static_cast<Index>(ranges.size()) ==
                std::max<Index>(1, std::min(threads, items / least)));
      }
}

TEST_CASE("for_chunks: as many items as an Index can count") {
  constexpr Index greatest = std::numeric_limits<Index>::max();
  const Ranges ranges = ranges_of(Pretending{3}, greatest, 1);
  REQUIRE(ranges.size() == 3);
  CHECK(ranges.front().first == 0);
  CHECK(ranges[0].second == ranges[1].first);
  CHECK(ranges[1].second == ranges[2].first);
  CHECK(ranges.back().second == greatest);
  CHECK(ranges_of(Pretending{3}, greatest, greatest) == Ranges{{0, greatest}});
}

TEST_CASE("for_chunks: one range stays on this thread, and the executor is not asked") {
  bool touched = false;
  const AnyExecutor executor = Untouched{&touched};  // is asked here whether it is right
  touched = false;
  const auto here = std::this_thread::get_id();
  Index seen = 0;
  for_chunks(executor, 199, 100, [&](Index first, Index last) {
    seen += last - first;
    CHECK(std::this_thread::get_id() == here);
  });
  for_chunks(executor, 0, 1, [&](Index, Index) { seen = -1; });
  CHECK(seen == 199);
  CHECK_FALSE(touched);
  CHECK(ranges_of(executor, 200, 100) == Ranges{{0, 100}, {100, 200}});
  CHECK(touched);
}

TEST_CASE("for_chunks: on threads") {
  WorkerPool pool(4);
  const Pool executor(4, [&pool](Index tasks, TaskRef task) { pool.run(tasks, task); });
  CHECK(ranges_of(executor, 10, 1) == ranges_of(Pretending{4}, 10, 1));
  check_same_result(executor);
}

TEST_CASE("for_chunks: wrong numbers are sentences") {
  const auto of = [](Index items, Index least) {
    return sentence_of([&] { for_chunks({}, items, least, [](Index, Index) {}); });
  };
  CHECK(of(0, 1) == "");
  CHECK(of(-1, 1) == "posenc::for_chunks: the number of items must not be negative, got -1.");
  CHECK(of(5, 0) == "posenc::for_chunks: a range must have at least 1 item, got 0.");
  CHECK_THAT(of(-1, -1), ContainsSubstring("2 problems"));
}

}  // namespace chunks_cases
