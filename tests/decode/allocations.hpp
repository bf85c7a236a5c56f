// SPDX-License-Identifier: MIT
//
// How often this program has asked for memory.
#pragma once

#include <cstddef>

namespace decode_test {

std::size_t allocations();

}  // namespace decode_test
