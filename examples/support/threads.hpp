// SPDX-License-Identifier: MIT
//
// The threads that --threads asks for.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/executor/any_executor.hpp>
#if defined(_OPENMP)
#include <posenc/executor/openmp.hpp>
#endif

#include <string>

namespace example {

/// OpenMP's threads, 0 for all, where the program was built with it. Throws posenc::Error.
inline posenc::AnyExecutor threads_of([[maybe_unused]] const char* program,
                                      [[maybe_unused]] int threads) {
#if defined(_OPENMP)
  return posenc::OpenMP{threads};
#else
  if (threads > 1)
    throw posenc::Error(program, {"--threads " + std::to_string(threads) +
                                  ": this program was built without OpenMP."});
  return posenc::Serial{};
#endif
}

}  // namespace example
