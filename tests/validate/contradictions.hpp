// SPDX-License-Identifier: MIT
//
// What validate() says of a component; empty when nothing.
#pragma once

#include <posenc/validate/validate.hpp>

#include "../support/catch.hpp"

#include <string>

namespace validate_test {

using namespace posenc;

/// All sentences, and how many they are.
struct Said {
  std::string text;
  std::size_t count = 0;
};

template <class... Arguments>
Said contradictions(const Arguments&... arguments) {
  try {
    validate(arguments...);
  } catch (const Error& error) {
    return {error.what(), error.problems().size()};
  }
  return {};
}

/// One sentence, which has the part.
inline void says(const Said& said, const std::string& part) {
  CHECK(said.count == 1);
  CHECK_THAT(said.text, StartsWith("posenc::validate") && ContainsSubstring(part));
}

}  // namespace validate_test
