// SPDX-License-Identifier: MIT
//
// LearnedAbsolute: a trained vector per position, added to the token embeddings.
//
//   Gehring et al., arXiv 1705.03122; BERT, GPT-2, OPT. Hierarchical extension: Su,
//   kexue.fm/archives/7947, bojone/bert4keras.
//
//   p_n = scale * E[n + offset]
//
// BART and OPT keep two unused rows in front (offset 2), RoBERTa and fairseq padding_idx + 1;
// x-transformers scales by width^(-1/2).
//
// There is nothing to read beyond the table: a position outside is an error, unless `hierarchical`
// is given. It splits n into two digits of base L, the number of rows from `offset` on, and reaches
// L^2 positions without training:
//
//   u_j = (E[j] - a E[0]) / (1 - a),   p_n = a u[n div L] + (1 - a) u[n mod L]
//
// which is E[n] for n < L. a = 1/2 could not tell digits (i, j) from (j, i); the author uses 0.4.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct LearnedAbsolute {
  std::vector<float> table{};                         ///< [length][width], contiguous
  Index length = 0;                                   ///< rows of the table
  Index width = 0;                                    ///< channels of the model
  Index offset = 0;                                   ///< row of position 0
  double scale = 1;                                   ///< multiplies every value
  std::optional<double> hierarchical = std::nullopt;  ///< a: extends the table beyond its end

  [[nodiscard]] constexpr Index embedding_width() const { return width; }

  /// Positions that have a vector: 0 .. reach() - 1.
  [[nodiscard]] constexpr Index reach() const {
    const Index rows = length - offset;
    Index squared = rows;
    if (hierarchical && !multiply(rows, rows, squared)) squared = std::numeric_limits<Index>::max();
    return squared;
  }

  void check_position(Problems& problems, double position) const {
    problems.require(position >= 0 && position < static_cast<double>(reach()) &&
                         position == std::floor(position),
                     "the table has vectors for the whole positions 0 to ", reach() - 1,
                     ", got position ", position,
                     hierarchical ? "." : "; `hierarchical` would extend it.");
  }

  /// Throws Error for a position that has no vector.
  void embed(double position, std::span<double> out) const {
    const Index rows = length - offset, n = checked(position);
    const float* low = row(n % rows);
    if (n < rows) {
      for (Index c = 0; c < width; ++c) out[static_cast<std::size_t>(c)] = scale * double{low[c]};
      return;
    }
    const float* high = row(n / rows);
    const float* zero = row(0);
    const double a = *hierarchical;
    for (Index c = 0; c < width; ++c) {
      const auto u = [&](const float* e) { return (double{e[c]} - a * double{zero[c]}) / (1 - a); };
      out[static_cast<std::size_t>(c)] = scale * (a * u(high) + (1 - a) * u(low));
    }
  }

  /// Of the table, in its order.
  [[nodiscard]] Index num_parameters() const { return std::ssize(table); }
  void embed_gradient(double position, std::span<const double> d,
                      std::span<double> gradient) const {
    const Index rows = length - offset, n = checked(position);
    add_to_row(n % rows, scale, d, gradient);
    if (n < rows) return;
    // a u_i + (1 - a) u_j = E[j] + a / (1 - a) (E[i] - E[0])
    const double share = scale * *hierarchical / (1 - *hierarchical);
    add_to_row(n / rows, share, d, gradient);
    add_to_row(0, -share, d, gradient);
  }

  void check(Problems& problems, const HeadShape&) const {
    Index values = 0;
    const bool sizes = length > 0 && width > 0 && multiply(length, width, values);
    problems.require(sizes && static_cast<Index>(table.size()) == values,
                     "LearnedAbsolute: table must hold length * width values, got ", table.size(),
                     " for ", length, " * ", width, ".");
    problems.require(offset >= 0 && (offset < length || length <= 0),
                     "LearnedAbsolute: offset, the row of position 0, must be within the ", length,
                     " rows of the table, got ", offset, ".");
    problems.require(std::isfinite(scale), "LearnedAbsolute: scale must be finite, got ", scale,
                     ".");
    const double a = hierarchical.value_or(0.4);
    problems.require(a > 0 && a < 1 && a != 0.5,
                     "LearnedAbsolute: hierarchical must be between 0 and 1 and not 1/2, got ", a,
                     ".");
  }

 private:
  [[nodiscard]] const float* row(Index n) const { return table.data() + (n + offset) * width; }

  void add_to_row(Index n, double factor, std::span<const double> d,
                  std::span<double> gradient) const {
    double* const to = gradient.data() + (n + offset) * width;
    for (Index c = 0; c < width; ++c) to[c] += factor * d[static_cast<std::size_t>(c)];
  }

  [[nodiscard]] Index checked(double position) const {
    Problems problems;
    check_position(problems, position);
    problems.raise_if_any("posenc::LearnedAbsolute");
    return static_cast<Index>(position);
  }
};

POSENC_NAMESPACE_END
