// SPDX-License-Identifier: MIT
#pragma once

#include <posenc/core/problems.hpp>

#include <string>

namespace posenc_test {

/// What the Error says that f throws.
template <class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const posenc::Error& error) {
    return error.what();
  }
  return "nothing was wrong";
}

}  // namespace posenc_test

// Tests say it without the namespace, like the names of catch.hpp.
using posenc_test::error_of;
