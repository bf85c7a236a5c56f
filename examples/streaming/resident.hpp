// SPDX-License-Identifier: MIT
//
// The memory that this process has, as the operating system counts it.
#pragma once

#include <cstdint>
#include <fstream>
#include <optional>

#include <unistd.h>

namespace streaming {

/// Bytes of resident memory, or nothing where the system does not tell (only Linux does so here).
inline std::optional<std::int64_t> resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t pages = 0, resident = 0;
  if (!(file >> pages >> resident)) return std::nullopt;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace streaming
