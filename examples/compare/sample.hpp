// SPDX-License-Identifier: MIT
//
// Sample: synthetic queries and keys of the model's shape.
//
// Every query and key is a content vector that they share, plus noise of its own. The content has
// the same power in every rotary pair, so that under plain RoPE the mean score over the distance D
// is
//
//   mean score(D) = peak * (sum over pairs of cos(D w_i)) / pairs
//
// the decay curve of the RoFormer paper, and what a scheme does to it is visible. The noise gives
// every score a standard deviation of about `noise`.
//
// The queries are the last tokens of the sequence. Keys of long sequences are sampled in slices:
// the first slice, all near keys, and some of those between, each of which stands for several.
#pragma once

#include "setting.hpp"

#include <posenc/core/view.hpp>

#include <cmath>
#include <random>
#include <span>

namespace compare {

struct Slice {
  Position first = 0;  ///< index of its first key
  Index keys = 0;
  Index stored = 0;   ///< row of the first key in the sample
  double weight = 1;  ///< keys of the sequence that each of its keys stands for
};

class Sample {
 public:
  static constexpr Index slice_keys = 128, most_queries = 32;
  static constexpr Position most_keys = 32768, least_keys = 8192;  ///< stored, by their width
  static constexpr double peak = 10, noise = 1;

  Sample(const Setting& at, unsigned seed)
      : width_(at.layer.head_dim), heads_(at.num_heads), kv_heads_(at.num_kv_heads) {
    queries_ = static_cast<Index>(std::min<Position>(at.target, most_queries));
    query_offset_ = at.target - queries_;
    constexpr Position channels = most_keys * 4 * 128;  // of all stored keys
    const Position keys =
        std::clamp<Position>(channels / (kv_heads_ * width_), least_keys, most_keys);
    near_keys_ = keys / 4;
    choose_slices(at.target, keys);
    fill(at.scale, seed);
  }

  [[nodiscard]] const std::vector<Slice>& slices() const { return slices_; }
  [[nodiscard]] Position query_offset() const { return query_offset_; }
  [[nodiscard]] Index num_queries() const { return queries_; }
  [[nodiscard]] Index num_keys() const { return keys_; }
  [[nodiscard]] Index num_heads() const { return heads_; }
  [[nodiscard]] bool all_keys() const { return near_keys_ == 0; }
  [[nodiscard]] Position near_keys() const { return near_keys_; }  ///< 0 where there are all

  /// What the queries and keys of one key head share, [width].
  [[nodiscard]] std::span<const float> content(Index kv_head) const {
    const auto width = static_cast<std::size_t>(width_);
    return std::span(content_).subspan(static_cast<std::size_t>(kv_head) * width, width);
  }
  [[nodiscard]] posenc::TensorView<const float> queries() const {
    return {q_.data(), queries_, heads_, width_};
  }
  [[nodiscard]] posenc::TensorView<const float> keys() const {
    return {k_.data(), keys_, kv_heads_, width_};
  }

 private:
  void choose_slices(Position length, Position most) {
    const auto add = [&](Position first, Position keys, double weight) {
      slices_.push_back({first, static_cast<Index>(keys), keys_, weight});
      keys_ += static_cast<Index>(keys);
    };
    const auto add_all = [&](Position first, Position last) {
      for (; first < last; first += slice_keys)
        add(first, std::min<Position>(slice_keys, last - first), 1);
    };
    if (length <= most) {
      near_keys_ = 0;
      return add_all(0, length);
    }
    const Position near_start = length - near_keys_, between = near_start - slice_keys;
    const Position count = (most - near_keys_) / slice_keys - 1;
    add(0, slice_keys, 1);
    for (Position i = 0; i < count; ++i) {
      const Position stratum = slice_keys + between * i / count,
                     end = slice_keys + between * (i + 1) / count;
      const Position keys = std::min<Position>(slice_keys, end - stratum);
      add(stratum + (end - stratum - keys) / 2, keys,
          static_cast<double>(end - stratum) / static_cast<double>(keys));
    }
    add_all(near_start, length);
  }

  void fill(double scale, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    // |content|^2 * scale = peak; noise of both sides: 2 |content|^2 n^2 scale^2 = noise^2.
    const double power = peak / scale, each = noise / (scale * std::sqrt(2 * power));
    const double entry = std::sqrt(power / static_cast<double>(width_));
    content_.resize(static_cast<std::size_t>(kv_heads_ * width_));
    for (float& c : content_) c = static_cast<float>(normal(random) < 0 ? -entry : entry);
    const auto draw = [&](std::vector<float>& x, Index tokens, Index heads) {
      x.resize(static_cast<std::size_t>(tokens * heads * width_));
      auto at = x.begin();
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < heads; ++h)
          for (Index c = 0; c < width_; ++c)
            *at++ = content_[static_cast<std::size_t>(h / (heads / kv_heads_) * width_ + c)] +
                    static_cast<float>(each) * normal(random);
    };
    draw(q_, queries_, heads_);
    draw(k_, keys_, kv_heads_);
  }

  Index width_, heads_, kv_heads_, queries_ = 0, keys_ = 0;
  Position query_offset_ = 0, near_keys_ = 0;
  std::vector<Slice> slices_;
  std::vector<float> content_, q_, k_;
};

}  // namespace compare
