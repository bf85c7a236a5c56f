// SPDX-License-Identifier: MIT
//
// What a component says is wrong with its parameters, for an encoding of so many heads.
#pragma once

#include <posenc/core/concepts.hpp>

#include <string>

namespace posenc_test {

template <class C>
std::string sentences_of(const C& component, posenc::Index num_heads = 4) {
  posenc::Problems problems;
  component.check(problems, posenc::HeadShape{num_heads, num_heads, 64});
  std::string all;
  for (const std::string& sentence : problems.sentences()) all += sentence + "\n";
  return all;
}

}  // namespace posenc_test

// Tests say it without the namespace, like the names of catch.hpp.
using posenc_test::sentences_of;
