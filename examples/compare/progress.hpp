// SPDX-License-Identifier: MIT
//
// A line on stderr that says what is going on: rewritten in place on a terminal, one per step
// elsewhere.
#pragma once

#include <iostream>
#include <string>

#include <unistd.h>

namespace compare {

class Progress {
 public:
  Progress() = default;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  void say(const std::string& what) {
    if (terminal_)
      std::cerr << "\r\x1b[K" << what << " ..." << std::flush;
    else
      std::cerr << "compare: " << what << "\n";
  }
  void clear() {
    if (terminal_) std::cerr << "\r\x1b[K" << std::flush;
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) != 0;
};

}  // namespace compare
