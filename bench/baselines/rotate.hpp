// SPDX-License-Identifier: MIT
//
// What one would write without the library: float, in place, contiguous [tokens][heads][width],
// token t at position first + t. Plain C++, compiled with the project's flags.
//
//   loop           over pairs, with tables
//   eigen          the same as array expressions; Interleaved as products of complex numbers
//   rotate_half    x * cos + rotate_half(x) * sin, one tensor per operation, as in models' Python
//   recurrence     as ggml's operator: each angle from the last one, cosf and sinf for every token
#pragma once

#include <Eigen/Core>

#include <cmath>
#include <complex>
#include <cstddef>
#include <vector>

namespace baselines {

using Index = std::ptrdiff_t;

struct Shape {
  Index tokens, heads, width;
  Index first = 0;
  double base = 10000;

  [[nodiscard]] Index pairs() const { return width / 2; }
  [[nodiscard]] std::size_t size() const {
    return static_cast<std::size_t>(tokens * heads * width);
  }
};

/// Cosines and sines of all positions, [tokens][columns]; columns after the last pair repeat.
struct Tables {
  Tables(const Shape& shape, Index columns) {
    for (Index t = 0; t < shape.tokens; ++t)
      for (Index i = 0; i < columns; ++i) {
        const auto pair = static_cast<double>(i % shape.pairs());
        const double angle = static_cast<double>(shape.first + t) *
                             std::pow(shape.base, -2 * pair / static_cast<double>(shape.width));
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
  }
  std::vector<float> cos, sin;
};

/// All heads of a token.
template <bool interleaved>
void turn_heads(const Shape& shape, const float* __restrict cos, const float* __restrict sin,
                float* __restrict x) {
  const Index pairs = shape.pairs();
  for (Index h = 0; h < shape.heads; ++h, x += shape.width)
    for (Index i = 0; i < pairs; ++i) {
      float& a = x[interleaved ? 2 * i : i];
      float& b = x[interleaved ? 2 * i + 1 : i + pairs];
      const float before = a;
      a = before * cos[i] - b * sin[i];
      b = before * sin[i] + b * cos[i];
    }
}

template <bool interleaved>
class Loop {
 public:
  explicit Loop(const Shape& shape) : shape_(shape), tables_(shape, shape.pairs()) {}

  void operator()(float* x) const {
    for (Index t = 0; t < shape_.tokens; ++t, x += shape_.heads * shape_.width)
      turn_heads<interleaved>(shape_, tables_.cos.data() + t * shape_.pairs(),
                              tables_.sin.data() + t * shape_.pairs(), x);
  }

 private:
  Shape shape_;
  Tables tables_;
};

template <bool interleaved>
class ArrayExpression {
 public:
  explicit ArrayExpression(const Shape& shape)
      : shape_(shape), tables_(shape, shape.pairs()), before_(shape.pairs()) {
    for (std::size_t i = 0; i < tables_.cos.size(); ++i)
      turns_.emplace_back(tables_.cos[i], tables_.sin[i]);
  }

  void operator()(float* x) {
    using Eigen::ArrayXcf, Eigen::ArrayXf, Eigen::Map;
    const Index pairs = shape_.pairs();
    for (Index t = 0; t < shape_.tokens; ++t)
      for (Index h = 0; h < shape_.heads; ++h, x += shape_.width) {
        if constexpr (interleaved) {
          Map<ArrayXcf>(reinterpret_cast<std::complex<float>*>(x), pairs) *=
              Map<const ArrayXcf>(turns_.data() + t * pairs, pairs);
        } else {
          const Map<const ArrayXf> cos(tables_.cos.data() + t * pairs, pairs);
          const Map<const ArrayXf> sin(tables_.sin.data() + t * pairs, pairs);
          Map<ArrayXf> a(x, pairs), b(x + pairs, pairs);
          before_ = a;
          a = before_ * cos - b * sin;
          b = before_ * sin + b * cos;
        }
      }
  }

 private:
  Shape shape_;
  Tables tables_;
  std::vector<std::complex<float>> turns_;
  Eigen::ArrayXf before_;
};

/// Its tensors are allocated once, which an interpreter would not do.
class RotateHalf {
 public:
  explicit RotateHalf(const Shape& shape)
      : shape_(shape), tables_(shape, shape.width), rotated_(shape.size()),
        times_cos_(shape.size()), times_sin_(shape.size()) {}

  void operator()(float* x) {
    const Index width = shape_.width, pairs = shape_.pairs();
    float* rotated = rotated_.data();
    for (Index row = 0; row < shape_.tokens * shape_.heads; ++row)
      for (Index i = 0; i < pairs; ++i) {
        rotated[row * width + i] = -x[row * width + pairs + i];
        rotated[row * width + pairs + i] = x[row * width + i];
      }
    multiply(x, tables_.cos.data(), times_cos_.data());
    multiply(rotated, tables_.sin.data(), times_sin_.data());
    for (std::size_t i = 0; i < shape_.size(); ++i) x[i] = times_cos_[i] + times_sin_[i];
  }

 private:
  void multiply(const float* __restrict x, const float* __restrict table,
                float* __restrict y) const {
    for (Index t = 0; t < shape_.tokens; ++t, table += shape_.width)
      for (Index h = 0; h < shape_.heads; ++h, x += shape_.width, y += shape_.width)
        for (Index i = 0; i < shape_.width; ++i) y[i] = x[i] * table[i];
  }

  Shape shape_;
  Tables tables_;
  std::vector<float> rotated_, times_cos_, times_sin_;
};

template <bool interleaved>
class Recurrence {
 public:
  explicit Recurrence(const Shape& shape)
      : shape_(shape), cos_(static_cast<std::size_t>(shape.pairs())), sin_(cos_) {}

  void operator()(float* x) {
    const float ratio =
        std::pow(static_cast<float>(shape_.base), -2.0F / static_cast<float>(shape_.width));
    for (Index t = 0; t < shape_.tokens; ++t, x += shape_.heads * shape_.width) {
      auto angle = static_cast<float>(shape_.first + t);
      for (std::size_t i = 0; i < cos_.size(); ++i, angle *= ratio) {
        cos_[i] = std::cos(angle);
        sin_[i] = std::sin(angle);
      }
      turn_heads<interleaved>(shape_, cos_.data(), sin_.data(), x);
    }
  }

 private:
  Shape shape_;
  std::vector<float> cos_, sin_;
};

}  // namespace baselines
