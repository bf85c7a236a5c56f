// SPDX-License-Identifier: MIT
//
// How often this program has asked for memory. Programs that want to know are named in
// tests/CMakeLists.txt: operator new of each is replaced by one that counts.
#pragma once

#include <cstddef>

namespace posenc_test {

std::size_t allocations();

}  // namespace posenc_test
