// SPDX-License-Identifier: MIT
//
// The threads of a program that reads a language model: of attention, and as many for products.
#pragma once

#include "../support/threads.hpp"

#include <Eigen/Core>

#include <algorithm>

extern "C" void openblas_set_num_threads(int) __attribute__((weak));

namespace evaluate {

/// 0: all. Throws posenc::Error.
inline posenc::AnyExecutor threads_of(const char* program, int threads) {
  posenc::AnyExecutor chosen = example::threads_of(program, threads);
  if (threads > 0) Eigen::setNbThreads(threads);
  if (openblas_set_num_threads && (threads > 0 || chosen.concurrency() == 1))
    openblas_set_num_threads(std::max(threads, 1));
  return chosen;
}

}  // namespace evaluate
