// SPDX-License-Identifier: MIT
//
// A line on stderr that says how far a program is: rewritten in place on a terminal, one per step
// elsewhere.
#pragma once

#include <iostream>
#include <string>

#include <unistd.h>

namespace example {

class Progress {
 public:
  explicit Progress(std::string program) : program_(std::move(program)) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  void say(const std::string& what) const {
    if (terminal_)
      std::cerr << "\r\x1b[K" << what << std::flush;
    else
      std::cerr << program_ << ": " << what << "\n";
  }
  void clear() const {
    if (terminal_) std::cerr << "\r\x1b[K" << std::flush;
  }

 private:
  std::string program_;
  bool terminal_ = isatty(STDERR_FILENO) != 0;
};

}  // namespace example
