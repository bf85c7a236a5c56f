// SPDX-License-Identifier: MIT
//
// What the tokens of a chunk are for one another, and what is left of the state behind it: the weights that
// chunk_worker.hpp multiplies values by.
//
// Some rows read, queries and with the delta rule what it erases by; some are written, keys and with a removal vector
// what is erased. For each pair of them there is a matrix of weights, W[t][m] = sum of x_t k_m (decays from m to t), zero
// for later tokens. Decays are exponentials of sums of log decays, all of one sign, so none overflows and no sum
// cancels. Where a head has one decay, each score has its own: exp of the sum from m to t. Where it has one for each
// channel, it stands between x and k within their product, and a chunk is cut into blocks of 16: readers decay from the
// start of their block, keys to the end of theirs and through the blocks between, and pairs within a block are
// multiplied out, the reader decaying token by token on its way back (leaves.inl).
//
// Where decays are known to be near 1 (Recurrence::whole_chunks), none of that is needed: readers are multiplied by the
// product of all decays since the start of the chunk and keys divided by it, each a float that was rounded once for
// each token, so that what is left of the quotient was rounded once for each token between.
#pragma once

#include <posenc/mixers/call.hpp>
#include <posenc/mixers/fetch.hpp>
#include <posenc/simd/panels.hpp>

#include <array>
#include <span>

POSENC_NAMESPACE_BEGIN

namespace detail {

class ChunkWeights {
 public:
  /// Rows of tokens that read the state and the tokens before them; `from` are the same, decayed from the start.
  struct Reader {
    const float* rows;
    float *from, *scores;
    bool before;  ///< what it reads has not met the decay of its own token
  };
  /// Rows that are written, across [keys][chunk] and decayed to the end, with the values that go with them.
  struct Writer {
    const float* rows;
    float *across, *values;
  };

  ChunkWeights(const MixerCall& call, const MixerBuffers& buffers)
      : call_(call), of_(call.of()), leaves_(call.leaves), at_(buffers) {
    std::fill_n(at_.ones, mixer_chunk, 1.0F);
    std::fill_n(at_.own, mixer_chunk, 0.0F);
    readers_[0].before = of_.reads_before();
    readers_[1].before = of_.removal;
  }

  [[nodiscard]] std::span<const Reader> readers() const {
    return {readers_.data(), of_.delta ? 2U : 1U};
  }
  [[nodiscard]] std::span<const Writer> writers() const {
    return {writers_.data(), of_.removal ? 2U : 1U};
  }
  [[nodiscard]] float* weights(std::size_t reader, std::size_t writer) const {
    return weights_[reader][writer];
  }

  /// Queries, keys and removal vectors of a chunk, for all heads that share the key.
  void load_keys(Index first, Index tokens, Index key_head) {
    first_ = first, tokens_ = tokens;
    load_rows(leaves_, call_.q, first_, tokens_, key_head, at_.q, at_.keys);
    load_rows(leaves_, call_.k, first_, tokens_, key_head, at_.k, at_.keys);
    if (of_.removal)
      load_rows(leaves_, call_.removal, first_, tokens_, key_head, at_.removal, at_.keys);
    readers_[1].rows = of_.removal ? at_.removal : at_.k;
    if (of_.query_scale != 1) {
      std::fill_n(at_.sums, tokens_, static_cast<float>(of_.query_scale));
      leaves_.scale_rows(tokens_, at_.keys, at_.q, at_.keys, at_.sums);
    }
    if (of_.decay == mixers::Decay::channel) return;
    to_across(at_.k, at_.k_across);
    for (const Reader& reader : readers()) scores(reader.rows, at_.k_across, reader.scores);
  }

  /// The weights of a head; from of each reader, across of each writer but for to_end, which its values are multiplied
  /// by, and keep and change of the state.
  void of_head(Index head, SoonRows& soon) {
    const bool by_channel = of_.decay == mixers::Decay::channel;
    load_decays(call_, first_, tokens_, head, at_.decay, by_channel ? at_.keys : 1, at_.write);
    if (of_.reads_before()) own_terms(head);
    if (!by_channel) return by_head();
    decay_row_ = of_.decays_by_token() ? at_.keys : 0;
    leaves_.exponentials(decay_row_ == 0 ? at_.keys : tokens_ * at_.keys, at_.decay, at_.decays);
    if (of_.rule) leaves_.scale_rows(tokens_, at_.keys, at_.k, at_.keys, at_.write);
    if (of_.removal) {
      load_rows(leaves_, call_.beta, first_, tokens_, head, at_.erased, at_.keys);
      leaves_.multiply(tokens_ * at_.keys, at_.erased, at_.removal, at_.erased);
    }
    of_.whole_chunks() ? by_channel_whole() : by_channel_in_blocks(soon);
  }

 private:
  /// Rows across, with zeros for tokens that are not there.
  void to_across(const float* rows, float* across) const {
    simd::to_panel(tokens_, at_.keys, mixer_chunk, rows, at_.keys, at_.ones, across);
  }
  /// Products of rows with what lies across, up to the end of the block of each.
  void scores(const float* rows, const float* across, float* to) const {
    for (Index t = 0; t < tokens_; t += mixer_block)
      leaves_.product(false, std::min(mixer_block, tokens_ - t), at_.keys, t + mixer_block,
                      rows + t * at_.keys, at_.keys, 1, across, to + t * mixer_chunk, mixer_chunk);
  }

  /// What tokens are for themselves where they read the state before them.
  void own_terms(Index head) const {
    const float* const bonus = call_.mixer.bonus(head);
    for (Index t = 0; t < tokens_; ++t)
      at_.own[t] =
          at_.write[t] * leaves_.dot3(at_.keys, at_.q + t * at_.keys, bonus, at_.k + t * at_.keys);
  }
  void set_own(float* w) const {
    for (Index t = 0; t < tokens_; ++t) w[t * mixer_chunk + t] = at_.own[t];
  }

  /// One decay for all channels.
  void by_head() const {
    float total = 0;
    for (std::size_t r = 0; r < readers().size(); ++r) {
      const float* const scores = readers_[r].scores;
      if (of_.decay == mixers::Decay::none)
        leaves_.mask_scores(tokens_, mixer_chunk, scores, at_.write, weights_[r][0]);
      else
        leaves_.decay_scores(of_.reads_before(), tokens_, mixer_chunk, scores, at_.decay, at_.write,
                             at_.own, weights_[r][0], at_.to_end, at_.from_start);
    }
    if (of_.decay == mixers::Decay::none) {
      if (of_.reads_before()) set_own(weights_[0][0]);
      std::fill_n(at_.to_end, mixer_chunk, 0.0F);
      std::fill_n(at_.from_start, mixer_chunk, 0.0F);
    } else {
      for (Index t = 0; t < tokens_; ++t) total += at_.decay[t];
    }
    const Index padded = round_up(tokens_, 16);
    std::fill(at_.from_start + tokens_, at_.from_start + padded, 0.0F);
    leaves_.exponentials(padded, at_.from_start, at_.from_start);
    leaves_.exponentials(padded, at_.to_end, at_.to_end);
    for (Index t = 0; t < tokens_; ++t) at_.to_end[t] *= at_.write[t];
    for (const Reader& reader : readers()) {
      std::copy_n(reader.rows, tokens_ * at_.keys, reader.from);
      leaves_.scale_rows(tokens_, at_.keys, reader.from, at_.keys, at_.from_start);
    }
    std::fill_n(at_.keep, at_.keys, total);
    leaves_.decay_parts(at_.keys, at_.keep, at_.keep, at_.change);
  }

  /// A decay for each channel, near 1.
  void by_channel_whole() const {
    const Index keys = at_.keys, padded = round_up(tokens_, mixer_block);
    float *const since_start = at_.decays, *const log_decay_of_all = at_.keep;
    leaves_.decay_products(tokens_, keys, at_.decay, at_.decays, decay_row_, log_decay_of_all);
    for (const Reader& reader : readers()) {
      const Index undecayed = reader.before ? keys : 0;
      std::copy_n(reader.rows, undecayed, reader.from);
      leaves_.multiply(tokens_ * keys - undecayed, reader.rows + undecayed, since_start,
                       reader.from + undecayed);
    }
    for (std::size_t i = 0; i < writers().size(); ++i) {
      const Writer& writer = writers_[i];
      leaves_.divide(tokens_ * keys, writer.rows, since_start, at_.k_to);
      to_across(at_.k_to, writer.across);
      for (std::size_t r = 0; r < readers().size(); ++r) {
        float* const w = weights_[r][i];
        scores(readers_[r].from, writer.across, w);
        leaves_.mask_scores(tokens_, mixer_chunk, w, at_.ones, w);
        if (readers_[r].before) set_own(w);
      }
      leaves_.scale_rows(keys, padded, writer.across, mixer_chunk,
                         since_start + (tokens_ - 1) * keys);
    }
    leaves_.decay_parts(keys, log_decay_of_all, at_.keep, at_.change);
  }

  /// A decay for each channel, whatever it is.
  void by_channel_in_blocks(SoonRows& soon) const {
    const Index keys = at_.keys;
    float *const since = at_.keep, *const block =
                                       at_.change;  // log decays from the start, and of a block
    float* const factors = at_.k_to + mixer_block * keys;
    std::fill_n(since, keys, 0.0F);
    for (Index t = 0; t < tokens_; t += mixer_block) {
      const Index n = std::min(mixer_block, tokens_ - t), at = t * keys;
      const float* const decays = at_.decays + t * decay_row_;
      for (std::size_t i = 0; i < writers().size(); ++i) {
        const Writer& writer = writers_[i];
        for (std::size_t r = 0; r < readers().size(); ++r) {
          const Reader& reader = readers_[r];
          float* const w = weights_[r][i] + t * mixer_chunk;
          leaves_.block_decays(reader.before, n, keys, reader.rows + at, writer.rows + at,
                               at_.decay + t * decay_row_, decays, decay_row_, reader.from + at,
                               at_.k_to, block);
          leaves_.block_scores(reader.before, n, keys, reader.rows + at, writer.rows + at, decays,
                               decay_row_, at_.own + t, w + t, mixer_chunk);
          if (t > 0)
            leaves_.product(false, n, keys, t, reader.from + at, keys, 1, writer.across, w,
                            mixer_chunk);
        }
        if (t > 0) {
          leaves_.exponentials(keys, block, factors);
          leaves_.scale_rows(keys, t, writer.across, mixer_chunk, factors);
        }
        std::fill(at_.k_to + n * keys, at_.k_to + mixer_block * keys, 0.0F);
        for (Index row = 0; row < mixer_block; row += 4)
          for (Index c = 0; c < keys; c += 4)
            simd::transpose_square<float>(at_.k_to + row * keys + c, keys, nullptr,
                                          writer.across + c * mixer_chunk + t + row, mixer_chunk,
                                          nullptr);
      }
      if (t > 0) {
        leaves_.exponentials(keys, since, factors);
        for (const Reader& reader : readers())
          leaves_.multiply_rows(n, keys, reader.from + at, factors, reader.from + at, keys);
      }
      for (Index c = 0; c < keys; ++c) since[c] += block[c];
      soon.some(8);
    }
    leaves_.decay_parts(keys, since, at_.keep, at_.change);
  }

  const MixerCall& call_;
  const mixers::Recurrence& of_;
  const mixers::Leaves& leaves_;
  const MixerBuffers& at_;
  std::array<Reader, 2> readers_{
      {{at_.q, at_.q_from, at_.scores, false}, {at_.k, at_.k_from, at_.k_scores, false}}};
  std::array<Writer, 2> writers_{
      {{at_.k, at_.k_across, at_.v}, {at_.erased, at_.erased_across, at_.u}}};
  std::array<std::array<float*, 2>, 2> weights_{{{at_.w, at_.erased_w}, {at_.k_w, at_.k_erased_w}}};
  Index first_ = 0, tokens_ = 0, decay_row_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
