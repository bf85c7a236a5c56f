// SPDX-License-Identifier: MIT
//
// What a selector has to fulfil wherever it chooses.
#pragma once

#include <posenc/bind/answers.hpp>
#include <posenc/select/key_selector.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Reports parameters that are wrong, and encodings whose rotations a method cannot choose by.
template <KeySelector S>
POSENC_DETAIL_COLD void check_selector(Problems& problems, const S& selector,
                                       const Answers& answers) {
  Problems own;
  selector.check(own);
  // What a wrong selector chooses is not to be asked.
  if (own.empty() && selector.top() < 0)
    own.add(S::name, " chooses ", selector.top(), " blocks, which must not be negative.");
  for (const std::string& sentence : own.sentences()) problems.add(sentence);
  problems.require(!S::rotated || !answers.rotates() || !answers.map(), S::name,
                   " summarises rotated keys, and a distance map rotates a key differently for "
                   "near and far queries: choose by raw keys.");
}

}  // namespace detail

POSENC_NAMESPACE_END
