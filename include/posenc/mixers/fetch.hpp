// SPDX-License-Identifier: MIT
//
// Rows that are wanted soon, asked for a few at a time while products are computed. The rows of a head lie a token
// apart, which no processor foresees, and asked for all at once they would be waited for.
#pragma once

#include <posenc/mixers/call.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

class SoonRows {
 public:
  explicit SoonRows(const MixerCall& call) : call_(call) {}

  /// What is written now, and the head and tokens that are read next; `keys` when the next head has another key.
  void begin(Index out_first, Index out_tokens, Index out_head, Index first, Index tokens,
             Index head, bool keys) {
    out_ = {out_first, out_tokens, out_head};
    next_ = {first, tokens, head};
    with_keys_ = keys;
    done_ = 0;
  }

  /// Some of them.
  void some(Index rows) {
    prefetch<true>(call_.out, out_, rows, out_.head);
    prefetch(call_.v, next_, rows, next_.head);
    if (call_.of().decays_by_token()) prefetch(call_.decay, next_, rows, next_.head);
    if (call_.of().removal) prefetch(call_.beta, next_, rows, next_.head);
    if (with_keys_) {
      if (call_.of().removal) prefetch(call_.removal, next_, rows, call_.key_head(next_.head));
      prefetch(call_.q, next_, rows, call_.key_head(next_.head));
      prefetch(call_.k, next_, rows, call_.key_head(next_.head));
    }
    done_ += rows;
  }

 private:
  struct Place {
    Index first = 0, tokens = 0, head = 0;
  };
  template <bool ForWriting = false, class Byte>
  void prefetch(const Rows<float, Byte>& x, const Place& at, Index rows, Index head) const {
    prefetch_rows<ForWriting>(x, at.first + done_, std::min(rows, at.tokens - done_), head);
  }

  const MixerCall& call_;
  Place out_, next_;
  bool with_keys_ = false;
  Index done_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
