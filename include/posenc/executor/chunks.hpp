// SPDX-License-Identifier: MIT
//
// for_chunks: a loop over items, cut into one contiguous range per thread.
//
// For work that moves memory: each thread walks through a range of its own, the same one in the
// next call, and a loop that is too short to be worth a second thread never hears of threads.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/executor/any_executor.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

/// Calls body(first, last) for ranges that together are [0, items), none of them twice.
///
/// There are at most executor.concurrency() ranges, their lengths differ by one at most, and each
/// has at least `least` items unless there are fewer in all. With one range the body runs on the
/// caller's thread and the executor is not asked; without items there is none. The body must not
/// throw. Throws Error when items < 0 or least < 1.
template <class Body>
  requires std::invocable<const Body&, Index, Index>
void for_chunks(const AnyExecutor& executor, Index items, Index least, const Body& body) {
  if (items < 0 || least < 1) {
    Problems problems;
    problems.require(items >= 0, "the number of items must not be negative, got ", items, ".");
    problems.require(least >= 1, "a range must have at least 1 item, got ", least, ".");
    problems.raise_if_any("posenc::for_chunks");
  }
  if (items == 0) return;
  Index ranges = items / least;
  if (ranges > 1) ranges = std::min(ranges, executor.concurrency());
  if (ranges <= 1) return static_cast<void>(body(Index{0}, items));

  const Index length = items / ranges, longer = items % ranges;  // the first `longer` have one more
  executor(ranges, [&](Index i) {
    const Index first = i * length + std::min(i, longer);
    body(first, first + length + (i < longer ? 1 : 0));
  });
}

POSENC_NAMESPACE_END
