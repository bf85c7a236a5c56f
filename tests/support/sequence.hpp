// SPDX-License-Identifier: MIT
//
// A sequence of random queries, keys and values in double, attended to in three ways: by a formula
// that shares nothing with the library, by attention(), and by decode(), token by token.
#pragma once

#include "random.hpp"

#include <posenc/attention/attention.hpp>
#include <posenc/attention/decode.hpp>
#include <posenc/rotary/rope.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

namespace posenc_test {

using Rows = std::vector<double>;  // [token][head][channel]

struct Sequence {
  static constexpr posenc::Index heads = 4, kv_heads = 2, width = 16;
  static constexpr posenc::RoPE<posenc::HalfSplit> rope{.head_dim = width};

  posenc::Index tokens;
  Rows q, k, v;

  explicit Sequence(posenc::Index n) : tokens(n) {
    std::mt19937 random(77);
    q = noise<double>(n * heads * width, random, -2, 2);
    k = noise<double>(n * kv_heads * width, random, -2, 2);
    v = noise<double>(n * kv_heads * width, random, -2, 2);
  }

  [[nodiscard]] posenc::TensorView<const double> queries() const {
    return {q.data(), tokens, heads, width};
  }
  [[nodiscard]] posenc::TensorView<const double> keys() const {
    return {k.data(), tokens, kv_heads, width};
  }
  [[nodiscard]] posenc::TensorView<const double> values() const {
    return {v.data(), tokens, kv_heads, width};
  }

  /// The tokens of these indices, in this order.
  [[nodiscard]] Sequence some(const std::vector<posenc::Index>& indices) const {
    Sequence part(0);
    part.tokens = std::ssize(indices);
    const auto take = [](const Rows& from, Rows& to, posenc::Index token, posenc::Index h) {
      to.insert(to.end(), from.begin() + token * h * width, from.begin() + (token + 1) * h * width);
    };
    for (const posenc::Index t : indices) {
      take(q, part.q, t, heads);
      take(k, part.k, t, kv_heads);
      take(v, part.v, t, kv_heads);
    }
    return part;
  }

  /// Row i of head h is the softmax over visible(i, j) of
  /// <R(g(i, j)) q_i, k_j> / sqrt(width) + bias(h, i, j), times v_j.
  template <class Distance, class Visible, class Bias>
  [[nodiscard]] Rows dense(const Distance& g, const Visible& visible, const Bias& bias) const {
    Rows out;
    for (posenc::Index i = 0; i < tokens; ++i)
      for (posenc::Index h = 0; h < heads; ++h) {
        const posenc::Index kv = h / (heads / kv_heads);
        Rows weights, row(width);
        double sum = 0;
        for (posenc::Index j = 0; j < tokens; ++j) {
          const double added = visible(i, j) ? bias(h, i, j) : -HUGE_VAL;
          weights.push_back(0);
          if (added == -HUGE_VAL) continue;
          weights.back() = std::exp(score(i, h, j, kv, static_cast<double>(g(i, j))) + added);
          sum += weights.back();
        }
        for (posenc::Index j = 0; j < tokens; ++j)
          for (posenc::Index c = 0; c < width; ++c)
            row[static_cast<std::size_t>(c)] +=
                weights[static_cast<std::size_t>(j)] / sum * values()(j, kv, c);
        out.insert(out.end(), row.begin(), row.end());
      }
    return out;
  }
  template <class Distance, class Visible>
  [[nodiscard]] Rows dense(const Distance& g, const Visible& visible) const {
    return dense(g, visible, [](auto, auto, auto) { return 0.0; });
  }

  template <class E>
  [[nodiscard]] Rows attend(const E& encoding,
                            const posenc::AttentionOptions<double>& options = {}) const {
    Rows out(q.size());
    posenc::attention(queries(), keys(), values(),
                      posenc::TensorView(out.data(), tokens, heads, width), encoding, options);
    return out;
  }

  /// Appends each token to sequence 0 of the cache, and decodes it.
  template <class CacheT, class E>
  [[nodiscard]] Rows decode(CacheT& cache, const E& encoding) const {
    const auto bound = posenc::bind(encoding, {.num_heads = heads, .num_kv_heads = kv_heads});
    Rows out(q.size());
    for (posenc::Index t = 0; t < tokens; ++t) {
      cache.append(0, keys().slice(t, 1), values().slice(t, 1), bound);
      posenc::decode(queries().slice(t, 1), cache,
                     posenc::TensorView(out.data() + t * heads * width, 1, heads, width), bound);
    }
    return out;
  }

  /// Of pair c.
  [[nodiscard]] static double frequency(posenc::Index c) {
    static const auto all = [] {
      std::array<double, width / 2> w{};
      for (std::size_t i = 0; i < w.size(); ++i)
        w[i] = std::pow(rope.base, -2.0 * static_cast<double>(i) / width);
      return w;
    }();
    return all[static_cast<std::size_t>(c)];
  }
  /// Rotated channels of a row.
  [[nodiscard]] static Rows turned(const double* x, double position) {
    Rows y(width);
    for (posenc::Index c = 0; c < width / 2; ++c) {
      const double angle = position * frequency(c);
      const auto a = static_cast<std::size_t>(c), b = a + width / 2;
      y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
      y[b] = x[a] * std::sin(angle) + x[b] * std::cos(angle);
    }
    return y;
  }

  [[nodiscard]] static posenc::CacheShape cache_of(posenc::Index capacity) {
    return {.kv_heads = kv_heads, .head_dim = width, .capacity = capacity};
  }

 private:
  [[nodiscard]] double score(posenc::Index i, posenc::Index h, posenc::Index j, posenc::Index kv,
                             double distance) const {
    double sum = 0;
    for (posenc::Index c = 0; c < width / 2; ++c) {
      const double angle = distance * frequency(c);
      const double q0 = queries()(i, h, c), q1 = queries()(i, h, c + width / 2);
      const double k0 = keys()(j, kv, c), k1 = keys()(j, kv, c + width / 2);
      sum += (q0 * k0 + q1 * k1) * std::cos(angle) + (q0 * k1 - q1 * k0) * std::sin(angle);
    }
    return sum / std::sqrt(static_cast<double>(width));
  }
};

/// The greatest difference; infinite for a NaN and for other sizes.
inline double difference(const Rows& a, const Rows& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
  }
  return worst;
}

/// The rows of one token.
inline Rows row_of(const Rows& all, posenc::Index token) {
  constexpr posenc::Index row = Sequence::heads * Sequence::width;
  return {all.begin() + token * row, all.begin() + (token + 1) * row};
}

}  // namespace posenc_test

// Tests say these without the namespace, like the names of catch.hpp.
using posenc_test::difference;
using posenc_test::row_of;
using posenc_test::Rows;
using posenc_test::Sequence;
