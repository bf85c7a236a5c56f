// SPDX-License-Identifier: MIT
//
// Every score of the sample, as the attention kernel computes it: after rotation, temperature,
// biases, score maps and masks.
//
// Attention hands out weights and their log-sum-exp, not scores. But its values may be anything:
// with the identity matrix as the values of a slice of keys, output channel j is the weight of key
// j, and
//
//   score_j = ln(weight_j) + lse
//
// From the scores of all slices follow the mean by distance and, over a whole row,
//
//   entropy = lse - sum of weight_j score_j          effective keys = e^entropy
#pragma once

#include "sample.hpp"

#include <posenc/attention/attention.hpp>
#include <posenc/bind/any.hpp>

#include <array>
#include <limits>
#include <span>

namespace compare {

/// A mean over scores whose distance lies in [first, last].
struct DistanceBin {
  Position first = 0, last = 0;
  double sum = 0, count = 0;

  [[nodiscard]] double mean() const {
    return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
  }
  [[nodiscard]] double distance() const {
    return std::sqrt(static_cast<double>(first) * static_cast<double>(last));
  }
};

/// Bins that cover the distances 1 .. length - 1, about five to an octave.
inline std::vector<DistanceBin> distance_bins(Position length) {
  std::vector<DistanceBin> bins;
  for (Position first = 1; first < length;) {
    const auto next = static_cast<Position>(std::floor(static_cast<double>(first) * 1.15)) + 1;
    bins.push_back({first, std::min(next, length) - 1});
    first = next;
  }
  return bins;
}

/// Distances whose mean score the table shows.
inline std::array<Position, 4> probes(const Setting& at) {
  const Position end = at.target;
  return at.target > at.trained
             ? std::array{Position{1}, std::max<Position>(1, at.trained / 4), at.trained, end}
             : std::array{Position{1}, std::max<Position>(1, end / 16),
                          std::max<Position>(1, end / 4), end};
}

struct ScoreStatistics {
  std::vector<DistanceBin> decay;
  std::array<DistanceBin, 4> probe{};
  double entropy = 0;         ///< nats, mean over rows
  double effective_keys = 0;  ///< e^entropy
  double relative = 0;        ///< entropy over the logarithm of the number of keys
  double beyond = 0;          ///< share of the attention on distances beyond the training
};

/// Entropy of the weights of one row, gathered as scores arrive.
class RowEntropy {
 public:
  void add(double score, double weight, bool beyond) {
    if (score > greatest_) {
      const double shrink = std::exp(greatest_ - score);
      for (double* sum : {&sum_, &scores_, &beyond_}) *sum *= shrink;
      greatest_ = score;
    }
    const double p = weight * std::exp(score - greatest_);
    sum_ += p;
    scores_ += p * score;
    if (beyond) beyond_ += p;
  }
  [[nodiscard]] double entropy() const {
    return sum_ > 0 ? std::log(sum_) + greatest_ - scores_ / sum_ : 0;
  }
  [[nodiscard]] double beyond() const { return sum_ > 0 ? beyond_ / sum_ : 0; }

 private:
  double greatest_ = -std::numeric_limits<double>::infinity(), sum_ = 0, scores_ = 0, beyond_ = 0;
};

class ScoreCollector {
 public:
  ScoreCollector(const Setting& at, const Sample& sample)
      : trained_(at.trained), target_(at.target), sample_(sample),
        rows_(static_cast<std::size_t>(sample.num_queries() * sample.num_heads())) {
    statistics_.decay = distance_bins(at.target);
    bin_of_.resize(static_cast<std::size_t>(at.target));
    for (std::size_t b = 0; b < statistics_.decay.size(); ++b)
      for (Position d = statistics_.decay[b].first; d <= statistics_.decay[b].last; ++d)
        bin_of_[static_cast<std::size_t>(d)] = static_cast<std::uint16_t>(b);
    const auto around = probes(at);
    for (std::size_t i = 0; i < around.size(); ++i) {  // three per cent to each side
      const Position last = std::min(at.target - 1, around[i] + around[i] * 3 / 100);
      statistics_.probe[i] = {std::min(last, around[i] - around[i] * 3 / 100), last};
    }
  }

  /// The weights and log-sum-exp of one slice: [queries][heads][keys] and [queries][heads].
  void add(const Slice& slice, std::span<const float> weights, std::span<const float> lse) {
    auto p = weights.begin();
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      const Position query =
          sample_.query_offset() + static_cast<Position>(row) / sample_.num_heads();
      for (Index c = 0; c < slice.keys; ++c, ++p) {
        if (!(*p > 0)) continue;  // hidden, or nothing beside its neighbours
        const Position distance = query - (slice.first + c);
        const double score = std::log(static_cast<double>(*p)) + static_cast<double>(lse[row]);
        rows_[row].add(score, slice.weight, distance >= trained_);
        if (distance <= 0) continue;
        count(statistics_.decay[bin_of_[static_cast<std::size_t>(distance)]], score);
        for (DistanceBin& bin : statistics_.probe)
          if (distance >= bin.first && distance <= bin.last) count(bin, score);
      }
    }
  }

  [[nodiscard]] ScoreStatistics finish() {
    const double rows = static_cast<double>(rows_.size());
    for (const RowEntropy& row : rows_) {
      statistics_.entropy += row.entropy() / rows;
      statistics_.beyond += row.beyond() / rows;
    }
    statistics_.effective_keys = std::exp(statistics_.entropy);
    statistics_.relative =
        target_ > 1 ? statistics_.entropy / std::log(static_cast<double>(target_)) : 0;
    return std::move(statistics_);
  }

 private:
  static void count(DistanceBin& bin, double score) {
    bin.sum += score;
    ++bin.count;
  }

  Position trained_, target_;
  const Sample& sample_;
  std::vector<RowEntropy> rows_;
  std::vector<std::uint16_t> bin_of_;
  ScoreStatistics statistics_;
};

inline ScoreStatistics score_statistics(const posenc::AnyBound& bound, const Setting& at,
                                        const Sample& sample) {
  constexpr Index n = Sample::slice_keys;
  std::vector<float> identity(n * n), weights,
      lse(static_cast<std::size_t>(sample.num_queries() * sample.num_heads()));
  for (Index i = 0; i < n; ++i) identity[static_cast<std::size_t>(i * n + i)] = 1;
  weights.resize(lse.size() * n);

  ScoreCollector collector(at, sample);
  for (const Slice& slice : sample.slices()) {
    const auto keys = sample.keys().slice(slice.stored, slice.keys);
    const std::span<float> out(weights.data(), lse.size() * static_cast<std::size_t>(slice.keys));
    // Head stride 0: all key heads share the identity.
    posenc::attention<float>(
        sample.queries(), keys, {identity.data(), slice.keys, keys.heads, slice.keys, n, 0},
        posenc::TensorView<float>(out.data(), sample.num_queries(), sample.num_heads(), slice.keys),
        bound, {.query_offset = sample.query_offset(), .key_offset = slice.first, .lse = lse});
    collector.add(slice, out, lse);
  }
  return collector.finish();
}

}  // namespace compare
