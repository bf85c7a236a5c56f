// SPDX-License-Identifier: MIT
//
// LongHeads: every query head reads chunks of its own, moved together to where the model was trained.
//
//   in a chunk c of `chunk` tokens, rotated by their places in it:
//     f(h, c) = mean over its tokens t of attention(q_t, K_c, V_c)             without a mask
//     g(h, c) = softmax(<f(h, c), K_c> / sqrt(d)) K_c
//   score(c) = <q, g(h, c)>, of the query as it was passed
//
// A query reads the first chunk, that of its own token and the one before it, and of the others the `chunks` - 3 with the
// greatest scores: `chunks` in all, each head for itself. The chosen keys stand at 0, 1, ... in the order of the text,
// and the query where its own token is among them (Placement::contiguous), so no distance exceeds chunk * chunks - 1. Up to
// so many tokens it is plain attention.
//
//   LongHeadsFeatures features(LongHeads{}, heads, kv_heads, head_dim);
//   features.append(q, k, v, bind(rope, heads));           with every append to the cache
//   choose_chunks(q, features, first_index, chosen);
//   decode(q, cache, out, bound, {.selection = &chosen});   a cache of raw keys
//
// Lu et al., "LongHeads: Multi-Head Attention is Secretly a Long Context Processor" (arXiv 2402.10685);
// github.com/LuLuLuyi/LongHeads, modeling_longheads/modeling_llama.py (window_size 256, atten_length 4,096).
//
// Errata. Reading a prompt, the reference cuts the chosen keys off before the query's own (slices of relative_position),
// and while generating it does not; here a query always sees its own key. With a last chunk that has just
// begun it reads as many chunks in both cases, as here; while generating at the end of a whole chunk it reads one fewer.
//
// Queries of a chunk are needed with its keys, and a cache holds none: features keep those of the chunk that is not complete.
#pragma once

#include <posenc/attention/attention.hpp>
#include <posenc/rotate/rotate.hpp>
#include <posenc/select/scored_choice.hpp>

#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct LongHeads {
  static constexpr std::string_view name = "LongHeads";

  Index chunk = 256;  ///< window_size
  Index chunks = 16;  ///< atten_length / window_size: chunks that are read

  void check(Problems& problems) const {
    problems.require(chunk > 0, "LongHeads: a chunk has at least one token, got chunk = ", chunk,
                     ".");
    problems.require(chunks >= 3,
                     "LongHeads: the first chunk, the own one and the one before it are always "
                     "read, so chunks must be at least 3, got ",
                     chunks, ".");
  }
  [[nodiscard]] ForcedBlocks forced() const { return {.first = 1, .last = 2}; }
  [[nodiscard]] Index top() const { return chunks - 3; }
};

/// g(h, c) of the complete chunks of one sequence.
class LongHeadsFeatures {
 public:
  /// Throws Error for parameters that make no chunks.
  LongHeadsFeatures(const LongHeads& method, Index heads, Index kv_heads, Index head_dim)
      : method_(method), heads_(heads), kv_heads_(kv_heads), width_(head_dim) {
    Problems problems;
    method.check(problems);
    problems.require(kv_heads > 0 && heads > 0 && heads % kv_heads == 0 && head_dim > 0,
                     "heads must be a multiple of kv_heads and head_dim positive, got ", heads,
                     ", ", kv_heads, " and ", head_dim, ".");
    problems.raise_if_any("posenc::LongHeadsFeatures");
  }

  [[nodiscard]] const LongHeads& method() const { return method_; }
  [[nodiscard]] Index heads() const { return heads_; }
  [[nodiscard]] Index width() const { return width_; }
  /// Complete chunks, and tokens that were appended.
  [[nodiscard]] Index chunks() const { return std::ssize(features_) / (heads_ * width_); }
  [[nodiscard]] Index tokens() const {
    return chunks() * method_.chunk + std::ssize(q_) / (heads_ * width_);
  }
  /// g(h, c).
  [[nodiscard]] const float* row(Index chunk, Index head) const {
    return features_.data() + (chunk * heads_ + head) * width_;
  }

  /// The next tokens, as they leave their projections. `rotation` is an encoding of the model's rotation without a
  /// mask. Throws Error for shapes that do not fit.
  template <class T, class E>
  void append(TensorView<T> q, TensorView<T> k, TensorView<T> v, const Bound<E>& rotation) {
    Problems problems;
    problems.require(q.tokens == k.tokens && q.tokens == v.tokens && q.heads == heads_ &&
                         k.heads == kv_heads_ && v.heads == kv_heads_ && q.width == width_ &&
                         k.width == width_ && v.width == width_,
                     "q is ", detail::ShapeText(q), ", k is ", detail::ShapeText(k), " and v is ",
                     detail::ShapeText(v), ": features are of ", heads_, " query heads, ",
                     kv_heads_, " key heads and ", width_, " channels of keys and values alike.");
    problems.raise_if_any("posenc::LongHeadsFeatures::append");
    for (Index t = 0; t < q.tokens; ++t) {
      store(q, t, q_), store(k, t, k_), store(v, t, v_);
      if (std::ssize(q_) == method_.chunk * heads_ * width_) finish(rotation);
    }
  }
  /// Forgets all tokens from this one on. Those of a chunk that was complete cannot be taken apart: it begins anew, and
  /// tokens() says from where tokens have to be appended.
  void truncate(Index tokens) {
    if (tokens >= this->tokens()) return;
    const Index whole = std::min(tokens / method_.chunk, chunks());
    const Index rest = whole < chunks() ? 0 : std::max<Index>(tokens - whole * method_.chunk, 0);
    features_.resize(static_cast<std::size_t>(whole * heads_ * width_));
    q_.resize(static_cast<std::size_t>(rest * heads_ * width_));
    k_.resize(static_cast<std::size_t>(rest * kv_heads_ * width_)), v_.resize(k_.size());
  }

 private:
  template <class T>
  static void store(const TensorView<T>& x, Index token, std::vector<float>& to) {
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c) to.push_back(static_cast<float>(widen(x(token, h, c))));
  }
  template <class E>
  void finish(const Bound<E>& rotation) {
    const Index tokens = method_.chunk;
    const TensorView<float> q(q_.data(), tokens, heads_, width_),
        k(k_.data(), tokens, kv_heads_, width_), v(v_.data(), tokens, kv_heads_, width_);
    std::vector<float> out(q_.size());
    attention(q, k, v, TensorView<float>(out.data(), tokens, heads_, width_), rotation,
              {.query_offset = 0});
    rotate(k, Positions(0), rotation, {.side = Side::key});
    for (Index h = 0; h < heads_; ++h) {
      std::vector<double> mean(static_cast<std::size_t>(width_)), sum(mean);
      for (Index t = 0; t < tokens; ++t)
        for (Index c = 0; c < width_; ++c)
          mean[static_cast<std::size_t>(c)] +=
              static_cast<double>(out[static_cast<std::size_t>((t * heads_ + h) * width_ + c)]) /
              static_cast<double>(tokens);
      std::vector<double> scores;
      const Index kv = h / (heads_ / kv_heads_);
      for (Index t = 0; t < tokens; ++t) {
        double dot = 0;
        for (Index c = 0; c < width_; ++c)
          dot += mean[static_cast<std::size_t>(c)] * static_cast<double>(k(t, kv, c));
        scores.push_back(dot / std::sqrt(static_cast<double>(width_)));
      }
      const double most = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (double& x : scores) total += x = std::exp(x - most);
      for (Index t = 0; t < tokens; ++t)
        for (Index c = 0; c < width_; ++c)
          sum[static_cast<std::size_t>(c)] +=
              scores[static_cast<std::size_t>(t)] / total * static_cast<double>(k(t, kv, c));
      for (const double x : sum) features_.push_back(static_cast<float>(x));
    }
    q_.clear(), k_.clear(), v_.clear();
  }

  LongHeads method_;
  Index heads_, kv_heads_, width_;
  std::vector<float> features_;   ///< [chunk][query head][channel]
  std::vector<float> q_, k_, v_;  ///< of the chunk that is not complete, [token][head][channel]
};

/// Fills `out` with the choices of queries q [tokens, heads, head_dim], the first of which is the token `first` of the
/// sequence. Of equal scores the earlier chunk is read. Throws Error when features of a chunk before a query's
/// own and the one before that are missing.
template <class T>
void choose_chunks(TensorView<T> q, const LongHeadsFeatures& features, Index first,
                   Selection& out) {
  const LongHeads& method = features.method();
  Problems problems;
  problems.require(q.heads == features.heads() && q.width == features.width(), "q is ",
                   detail::ShapeText(q), " but features are of ", features.heads(),
                   " query heads of ", features.width(), " channels.");
  problems.require(first >= 0, "the index of the first query must not be negative, got ", first,
                   ".");
  const Index needed =
      q.tokens == 0 ? 0 : std::max<Index>((first + q.tokens - 1) / method.chunk - 1, 0);
  problems.require(!problems.empty() || needed <= features.chunks(), "queries up to token ",
                   first + q.tokens - 1, " choose among ", needed,
                   " chunks, but there are features of ", features.chunks(),
                   ": append the tokens first.");
  problems.raise_if_any("posenc::choose_chunks");

  out.clear();
  out.placement = Placement::contiguous;
  detail::ScoredChoice choice;
  std::vector<float> scores(static_cast<std::size_t>(needed + 2));
  for (Index row = 0; row < q.tokens; ++row) {
    const Index tokens = first + row + 1, chosen_among = (tokens - 1) / method.chunk - 1;
    for (Index h = 0; h < q.heads; ++h) {
      for (Index c = 1; c < chosen_among; ++c) {
        double score = 0;
        for (Index i = 0; i < q.width; ++i)
          score +=
              static_cast<double>(widen(q(row, h, i))) * static_cast<double>(features.row(c, h)[i]);
        scores[static_cast<std::size_t>(c)] = static_cast<float>(score);
      }
      out.add({.query = row, .queries = 1, .head = h, .heads = 1},
              choice(scores.data(), method.chunk, tokens, method.forced(), method.top()));
    }
  }
}

POSENC_NAMESPACE_END
