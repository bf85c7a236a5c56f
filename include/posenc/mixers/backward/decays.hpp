// SPDX-License-Identifier: MIT
//
// ChunkDecays: what decays do to rows of a chunk's tokens on the way from its start to each token, and from each token
// to its end. A head has none, one for all channels, or one for each; then there are blocks of 16 tokens, whose decays
// are multiplied within a block and exponentials of sums between them, as in chunk_weights.hpp.
#pragma once

#include <posenc/mixers/backward/call.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

class ChunkDecays {
 public:
  /// `ones` are as many as a block of rows has.
  ChunkDecays(const mixers::Mixer& mixer, const float* ones, Arena& arena)
      : of_(mixer.recurrence()), leaves_(mixers::leaves()), ones_(ones),
        keys_(round_up(mixer.shape().key_dim, 16)) {
    const Index width = by_channel() ? keys_ : 1;
    for (float** const at : {&decays_, &from_start_, &to_end_})
      *at = arena.take<float>(mixer_chunk, width);
    for (float** const at : {&since_, &until_, &blocks_})
      *at = arena.take<float>(mixer_chunk / mixer_block, keys_);
    for (float** const at : {&keep_, &change_}) *at = arena.take<float>(1, keys_);
  }

  /// From the log decays of so many tokens, as load_decays() gives them.
  void begin(const float* log_decay, Index tokens) {
    tokens_ = tokens;
    by_channel() ? of_channels(log_decay) : of_head(log_decay);
  }

  /// Rows of tokens times the decays from the start of the chunk to them, or from them to its end.
  void from_start(float* rows) const { through(rows, from_start_, since_); }
  void to_end(float* rows) const { through(rows, to_end_, until_); }
  /// The same within blocks, for the tokens of one that begins at `first`.
  void from_block(Index first, Index n, float* rows) const {
    leaves_.multiply(n * keys_, rows, from_start_ + first * keys_, rows);
  }
  void to_block_end(Index first, Index n, float* rows) const {
    leaves_.multiply(n * keys_, rows, to_end_ + first * keys_, rows);
  }
  /// The decays of a whole block, and those of its tokens, with how far these lie apart.
  [[nodiscard]] const float* of_block(Index first) const {
    return blocks_ + first / mixer_block * keys_;
  }
  [[nodiscard]] const float* of_tokens(Index first) const { return decays_ + first * row_; }
  [[nodiscard]] Index row() const { return row_; }

  /// What the chunk leaves of a state, in two parts.
  [[nodiscard]] const float* keep() const { return keep_; }
  [[nodiscard]] const float* change() const { return change_; }

  [[nodiscard]] bool by_channel() const { return of_.decay == mixers::Decay::channel; }

 private:
  void of_head(const float* log_decay) {
    float since = 0, until = 0;
    if (of_.decay == mixers::Decay::head) {
      for (Index t = 0; t < tokens_; ++t) {
        from_start_[t] = of_.reads_before() ? since : since + log_decay[t];
        since += log_decay[t];
      }
      for (Index t = tokens_; t-- > 0; until += log_decay[t]) to_end_[t] = until;
      for (float* const x : {from_start_, to_end_}) {
        std::fill(x + tokens_, x + round_up(tokens_, 16), 0.0F);
        leaves_.exponentials(round_up(tokens_, 16), x, x);
      }
    }
    leaves_.fill(keys_, since, keep_);
    leaves_.decay_parts(keys_, keep_, keep_, change_);
  }

  void of_channels(const float* log_decay) {
    row_ = of_.decays_by_token() ? keys_ : 0;
    leaves_.exponentials(row_ == 0 ? keys_ : tokens_ * keys_, log_decay, decays_);
    for (Index t = 0; t < tokens_; t += mixer_block)
      leaves_.block_decays(of_.reads_before(), std::min(mixer_block, tokens_ - t), keys_, ones_,
                           ones_, log_decay + t * row_, decays_ + t * row_, row_,
                           from_start_ + t * keys_, to_end_ + t * keys_,
                           blocks_ + t / mixer_block * keys_);
    const Index blocks = round_up(tokens_, mixer_block) / mixer_block, last = (blocks - 1) * keys_;
    leaves_.fill(keys_, 0, since_), leaves_.fill(keys_, 0, until_ + last);
    for (Index i = keys_; i < blocks * keys_; ++i)
      since_[i] = since_[i - keys_] + blocks_[i - keys_];
    for (Index i = last; i-- > 0;) until_[i] = until_[i + keys_] + blocks_[i + keys_];
    for (Index c = 0; c < keys_; ++c) keep_[c] = since_[last + c] + blocks_[last + c];
    leaves_.decay_parts(keys_, keep_, keep_, change_);
    for (float* const x : {since_, until_, blocks_}) leaves_.exponentials(blocks * keys_, x, x);
  }

  void through(float* rows, const float* own, const float* blocks) const {
    if (of_.decay == mixers::Decay::none) return;
    if (!by_channel()) return leaves_.scale_rows(tokens_, keys_, rows, keys_, own);
    leaves_.multiply(tokens_ * keys_, rows, own, rows);
    for (Index t = 0; t < tokens_; t += mixer_block) {
      float* const block = rows + t * keys_;
      leaves_.multiply_rows(std::min(mixer_block, tokens_ - t), keys_, block,
                            blocks + t / mixer_block * keys_, block, keys_);
    }
  }

  const mixers::Recurrence& of_;
  const mixers::Leaves& leaves_;
  const float* ones_;
  Index keys_, tokens_ = 0, row_ = 0;
  float *decays_, *from_start_, *to_end_;  ///< [chunk][keys] within blocks, or [chunk]
  float *since_, *until_, *blocks_;        ///< [blocks][keys]: before a block, behind it, and of it
  float *keep_, *change_;
};

}  // namespace detail

POSENC_NAMESPACE_END
