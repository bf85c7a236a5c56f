// SPDX-License-Identifier: MIT
//
// What one would write without the library, float, in place, [tokens][heads][width], position t for
// token t. Plain C++, compiled with the project's flags.
#pragma once

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <vector>

namespace baselines {

struct Shape {
  std::ptrdiff_t tokens, heads, width;
  double base = 10000;
  bool interleaved = false;
};

/// Cosines and sines of all positions, [tokens][width / 2], made once.
struct Tables {
  std::vector<float> cos, sin;

  explicit Tables(const Shape& shape) {
    const std::ptrdiff_t pairs = shape.width / 2;
    for (std::ptrdiff_t t = 0; t < shape.tokens; ++t)
      for (std::ptrdiff_t i = 0; i < pairs; ++i) {
        const double w =
            std::pow(shape.base, -2.0 * static_cast<double>(i) / static_cast<double>(shape.width));
        cos.push_back(static_cast<float>(std::cos(static_cast<double>(t) * w)));
        sin.push_back(static_cast<float>(std::sin(static_cast<double>(t) * w)));
      }
  }
};

/// The loop over pairs, with tables.
inline void loop(const Shape& shape, const Tables& tables, float* x) {
  const std::ptrdiff_t pairs = shape.width / 2;
  for (std::ptrdiff_t t = 0; t < shape.tokens; ++t)
    for (std::ptrdiff_t h = 0; h < shape.heads; ++h, x += shape.width)
      for (std::ptrdiff_t i = 0; i < pairs; ++i) {
        const float c = tables.cos[static_cast<std::size_t>(t * pairs + i)];
        const float s = tables.sin[static_cast<std::size_t>(t * pairs + i)];
        float& a = x[shape.interleaved ? 2 * i : i];
        float& b = x[shape.interleaved ? 2 * i + 1 : i + pairs];
        const float before = a;
        a = before * c - b * s;
        b = before * s + b * c;
      }
}

/// The same as an Eigen expression per head.
inline void eigen(const Shape& shape, const Tables& tables, float* x) {
  using Array = Eigen::Array<float, Eigen::Dynamic, 1>;
  using Stride = Eigen::InnerStride<>;
  const std::ptrdiff_t pairs = shape.width / 2, step = shape.interleaved ? 2 : 1;
  Array before(pairs);
  for (std::ptrdiff_t t = 0; t < shape.tokens; ++t) {
    const Eigen::Map<const Array> c(tables.cos.data() + t * pairs, pairs);
    const Eigen::Map<const Array> s(tables.sin.data() + t * pairs, pairs);
    for (std::ptrdiff_t h = 0; h < shape.heads; ++h, x += shape.width) {
      Eigen::Map<Array, 0, Stride> a(x, pairs, Stride(step));
      Eigen::Map<Array, 0, Stride> b(x + (shape.interleaved ? 1 : pairs), pairs, Stride(step));
      before = a;
      a = before * c - b * s;
      b = before * s + b * c;
    }
  }
}

/// Hugging Face's x * cos + rotate_half(x) * sin: tables as wide as the head, whole tensors as
/// temporaries. Half-split only.
inline void rotate_half(const Shape& shape, const Tables& tables, float* x) {
  const std::ptrdiff_t width = shape.width, pairs = width / 2;
  const auto n = static_cast<std::size_t>(shape.tokens * shape.heads * width);
  std::vector<float> half(n), product(n);
  for (std::ptrdiff_t row = 0; row < shape.tokens * shape.heads; ++row)
    for (std::ptrdiff_t i = 0; i < pairs; ++i) {
      half[static_cast<std::size_t>(row * width + i)] = -x[row * width + pairs + i];
      half[static_cast<std::size_t>(row * width + pairs + i)] = x[row * width + i];
    }
  const auto wide = [&](const std::vector<float>& table, std::ptrdiff_t t, std::ptrdiff_t i) {
    return table[static_cast<std::size_t>(t * pairs + i % pairs)];
  };
  std::vector<float> cos(static_cast<std::size_t>(width)), sin = cos;
  for (std::ptrdiff_t t = 0; t < shape.tokens; ++t) {
    for (std::ptrdiff_t i = 0; i < width; ++i) {
      cos[static_cast<std::size_t>(i)] = wide(tables.cos, t, i);
      sin[static_cast<std::size_t>(i)] = wide(tables.sin, t, i);
    }
    for (std::ptrdiff_t h = 0; h < shape.heads; ++h)
      for (std::ptrdiff_t i = 0; i < width; ++i) {
        const auto at = static_cast<std::size_t>((t * shape.heads + h) * width + i);
        product[at] = x[at] * cos[static_cast<std::size_t>(i)];
      }
    for (std::ptrdiff_t h = 0; h < shape.heads; ++h)
      for (std::ptrdiff_t i = 0; i < width; ++i) {
        const auto at = static_cast<std::size_t>((t * shape.heads + h) * width + i);
        x[at] = product[at] + half[at] * sin[static_cast<std::size_t>(i)];
      }
  }
}

/// As ggml's operator does it: the angle by recurrence, cosf and sinf for each token, then the loop.
inline void recurrence(const Shape& shape, float* x) {
  const std::ptrdiff_t pairs = shape.width / 2;
  const float ratio =
      std::pow(static_cast<float>(shape.base), -2.0F / static_cast<float>(shape.width));
  std::vector<float> cos(static_cast<std::size_t>(pairs)), sin = cos;
  for (std::ptrdiff_t t = 0; t < shape.tokens; ++t) {
    float angle = static_cast<float>(t);
    for (std::size_t i = 0; i < static_cast<std::size_t>(pairs); ++i, angle *= ratio) {
      cos[i] = std::cos(angle);
      sin[i] = std::sin(angle);
    }
    for (std::ptrdiff_t h = 0; h < shape.heads; ++h, x += shape.width)
      for (std::ptrdiff_t i = 0; i < pairs; ++i) {
        const float c = cos[static_cast<std::size_t>(i)], s = sin[static_cast<std::size_t>(i)];
        float& a = x[shape.interleaved ? 2 * i : i];
        float& b = x[shape.interleaved ? 2 * i + 1 : i + pairs];
        const float before = a;
        a = before * c - b * s;
        b = before * s + b * c;
      }
  }
}

}  // namespace baselines
