// SPDX-License-Identifier: MIT
#pragma once

#include <posenc/executor/executor.hpp>

namespace posenc_test {

/// An executor that runs its tasks one after another, the last one first.
struct Backwards {
  posenc::Index threads;
  [[nodiscard]] posenc::Index concurrency() const { return threads; }
  void operator()(posenc::Index tasks, posenc::TaskRef task) const {
    for (posenc::Index i = tasks; i-- > 0;) task(i);
  }
};

}  // namespace posenc_test
