// SPDX-License-Identifier: MIT
#pragma once

namespace bench {

/// The recurrence as programs for CPUs have it: token after token, head after head, a row of the state after another;
/// decay, q, k and v are [tokens][heads][...], s is [heads][key_dim][value_dim]. With `removal`
/// and `erased`, of the shape of k, the state is read by one and loses what was read with the other: delta rules.
struct TokenLoop {
  long tokens, heads, key_dim, value_dim;
  const float *q, *k, *v, *decay;
  float *s, *out;
  const float *removal = nullptr, *erased = nullptr;
};
/// RWKV-4 likewise: k, v and out are [tokens][channels], the state is [3][channels].
struct WKVLoop {
  long tokens, channels;
  const float *k, *v, *w, *u;
  float *s, *out;
};
/// Compiled for the instruction set of this machine at -O3.
void wkv_loop_native(const WKVLoop &at);
void token_loop_native(const TokenLoop &at, long first_head, long last_head);
/// Compiled as the program is.
void wkv_loop_plain(const WKVLoop &at);
void token_loop_plain(const TokenLoop &at, long first_head, long last_head);

}  // namespace bench
