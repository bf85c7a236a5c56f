// SPDX-License-Identifier: MIT
#include "mixers/token_loop.hpp"

#include <algorithm>
#include <cmath>

#include "mixers/token_loop.inl"

namespace bench {

void token_loop_native(const TokenLoop& at, long first_head, long last_head) {
  token_loop(at, first_head, last_head);
}

void wkv_loop_native(const WKVLoop& at) { wkv_loop(at); }

}  // namespace bench
