// SPDX-License-Identifier: MIT
//
// Binding by value: one type for all encodings, so that a test of numbers compiles its checks once. That
// a type gives the same bits is tested in pipelines/ and in both galleries.
#pragma once

#include <posenc/bind/any.hpp>

namespace posenc_test {

template <class E>
posenc::AnyBound bind_any(const E& encoding, const posenc::BindOptions& options = {}) {
  return posenc::bind(posenc::AnyEncoding(encoding), options);
}

}  // namespace posenc_test
