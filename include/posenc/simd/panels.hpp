// SPDX-License-Identifier: MIT
//
// Rows of queries as panels, in which queries lie side by side, and back. Squares of four by four are
// turned in registers of 16 bytes, which every processor has: nothing here gains by a higher level, so
// it is compiled once.
#pragma once

#include <posenc/core/abi.hpp>
#include <posenc/core/types.hpp>

#include <cstring>

POSENC_NAMESPACE_BEGIN

namespace simd {

/// y = transpose of x, both 4 x 4 with the given strides. Lane i of each row of x, and of y, is
/// multiplied by factor[i], if there is one.
template <class T>
void transpose_square(const T* x, Index x_stride, const T* x_factor, T* y, Index y_stride,
                      const T* y_factor) {
  typedef T Four __attribute__((vector_size(4 * sizeof(T))));
  Four a, b, c, d, f;
  std::memcpy(&a, x, sizeof(Four));
  std::memcpy(&b, x + x_stride, sizeof(Four));
  std::memcpy(&c, x + 2 * x_stride, sizeof(Four));
  std::memcpy(&d, x + 3 * x_stride, sizeof(Four));
  if (x_factor) {
    std::memcpy(&f, x_factor, sizeof(Four));
    a *= f, b *= f, c *= f, d *= f;
  }
  const Four p = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Four q = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four r = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four s = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  a = __builtin_shufflevector(p, q, 0, 1, 4, 5);
  b = __builtin_shufflevector(p, q, 2, 3, 6, 7);
  c = __builtin_shufflevector(r, s, 0, 1, 4, 5);
  d = __builtin_shufflevector(r, s, 2, 3, 6, 7);
  if (y_factor) {
    std::memcpy(&f, y_factor, sizeof(Four));
    a *= f, b *= f, c *= f, d *= f;
  }
  std::memcpy(y, &a, sizeof(Four));
  std::memcpy(y + y_stride, &b, sizeof(Four));
  std::memcpy(y + 2 * y_stride, &c, sizeof(Four));
  std::memcpy(y + 3 * y_stride, &d, sizeof(Four));
}

/// Rows of queries, `row` apart, as a panel: y[c][r] = factor[r] x[r][c], zeros where there are no
/// more rows.
template <class T>
void to_panel(Index rows, Index columns, Index width, const T* x, Index row, const T* factor,
              T* y) {
  const Index whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (Index r = 0; r < whole_rows; r += 4)
    for (Index c = 0; c < whole_columns; c += 4)
      transpose_square<T>(x + r * row + c, row, nullptr, y + c * width + r, width, factor + r);
  for (Index c = 0; c < columns; ++c) {
    for (Index r = c < whole_columns ? whole_rows : 0; r < rows; ++r)
      y[c * width + r] = factor[r] * x[r * row + c];
    for (Index r = rows; r < width; ++r) y[c * width + r] = 0;
  }
}

/// A panel as rows that are `row` apart: y[r][c] = factor[r] x[c][r].
template <class T>
void from_panel(Index rows, Index columns, Index width, const T* x, const T* factor, T* y,
                Index row, Index column) {
  const Index whole_rows = column == 1 ? rows / 4 * 4 : 0, whole_columns = columns / 4 * 4;
  for (Index r = 0; r < whole_rows; r += 4)
    for (Index c = 0; c < whole_columns; c += 4)
      transpose_square<T>(x + c * width + r, width, factor + r, y + r * row + c, row, nullptr);
  for (Index r = 0; r < rows; ++r)
    for (Index c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      y[r * row + c * column] = factor[r] * x[c * width + r];
}

}  // namespace simd

POSENC_NAMESPACE_END
