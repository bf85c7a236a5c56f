// SPDX-License-Identifier: MIT
//
// The Eigen face: row-major matrices and maps in and out, without a copy, and Eigen's 16-bit elements.
//
// A matrix of [tokens, heads * width] is what a projection X * W leaves behind; as_heads() reads it
// as [tokens, heads, width]. Blocks and maps with an outer stride work too, so the three parts of
// one packed QKV product can be passed as they are:
//
//   attention(as_heads(q, heads), as_heads(k, kv_heads), as_heads(v, kv_heads),
//             as_heads(out, heads), bound);
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/view.hpp>

#include <Eigen/Core>

#include <type_traits>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {
template <class Derived>
void check_heads(const Eigen::DenseBase<Derived>& matrix, Index heads) {
  static_assert(
      Derived::IsRowMajor || Derived::IsVectorAtCompileTime,
      "posenc: as_heads takes row-major matrices (Eigen::RowMajor): a column-major one has the "
      "channels of a token far apart, and reading it as rows would mix up tokens.");
  Problems problems;
  problems.require(heads > 0 && matrix.cols() % std::max<Index>(heads, 1) == 0, "a matrix of ",
                   matrix.cols(), " columns does not divide into ", heads, " heads.");
  problems.raise_if_any("posenc::as_heads");
}
}  // namespace detail

namespace detail {
/// The element type follows from the pointer: a map of constant memory reads as constant.
template <class Matrix>
auto heads_of(Matrix& matrix, Index heads) {
  static_assert(
      (Eigen::internal::traits<std::remove_const_t<Matrix>>::Flags & Eigen::DirectAccessBit) != 0,
      "posenc: as_heads takes a matrix, map or block with memory of its own, not an unevaluated "
      "expression: call .eval() first and keep the result.");
  check_heads(matrix, heads);
  using T = std::remove_pointer_t<decltype(matrix.data())>;
  // The outer stride of a column vector is its length, not the distance between its tokens.
  constexpr bool column = std::remove_const_t<Matrix>::ColsAtCompileTime == 1;
  const Index inner = matrix.innerStride(), width = matrix.cols() / heads;
  return TensorView<T>(matrix.data(), matrix.rows(), heads, width,
                       column ? inner : matrix.outerStride(), width * inner, inner);
}
}  // namespace detail

/// Reads a matrix [tokens, heads * width] as [tokens, heads, width], writable if the matrix is.
/// Throws Error when the columns do not divide into heads.
template <class Derived>
[[nodiscard]] auto as_heads(Eigen::DenseBase<Derived>& matrix, Index heads) {
  return detail::heads_of(matrix.derived(), heads);
}

/// The same for temporary blocks and maps of memory that lives on.
template <class Derived>
[[nodiscard]] auto as_heads(Eigen::DenseBase<Derived>&& matrix, Index heads) {
  static_assert(
      !std::is_base_of_v<Eigen::PlainObjectBase<Derived>, Derived>,
      "posenc: as_heads would point into a temporary matrix that is about to be destroyed: give it "
      "a name first.");
  return detail::heads_of(matrix.derived(), heads);
}

/// Reads a constant matrix [tokens, heads * width] as [tokens, heads, width].
template <class Derived>
[[nodiscard]] auto as_heads(const Eigen::DenseBase<Derived>& matrix, Index heads) {
  return detail::heads_of(matrix.derived(), heads);
}

/// A view of contiguous memory as an Eigen map [tokens, heads * width], for reading results back.
/// Throws Error when tokens are not rows of contiguous heads.
template <class T>
[[nodiscard]] auto as_matrix(const TensorView<T>& view) {
  using Matrix =
      Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Problems problems;
  problems.require(view.channel_stride == 1 &&
                       (view.heads <= 1 || view.head_stride == view.width) &&
                       view.token_stride >= view.heads * view.width,
                   "the heads of a token must be contiguous, but head_stride is ", view.head_stride,
                   " for a width of ", view.width, ", channel_stride is ", view.channel_stride,
                   " and token_stride is ", view.token_stride, ".");
  problems.raise_if_any("posenc::as_matrix");
  return Eigen::Map<std::conditional_t<std::is_const_v<T>, const Matrix, Matrix>, Eigen::Unaligned,
                    Eigen::OuterStride<>>(view.data, view.tokens, view.heads * view.width,
                                          Eigen::OuterStride<>(view.token_stride));
}

/// The elements of an Eigen matrix row by row, however it stores them, as tables are given.
template <class Derived>
[[nodiscard]] std::vector<float> row_by_row(const Eigen::DenseBase<Derived>& matrix) {
  static_assert(std::is_same_v<typename Derived::Scalar, float>,
                "posenc: tables are float: give row_by_row a matrix of float, such as "
                "matrix.cast<float>().");
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(matrix.size()));
  for (Index r = 0; r < matrix.rows(); ++r)
    for (Index c = 0; c < matrix.cols(); ++c) values.push_back(matrix.derived().coeff(r, c));
  return values;
}

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_BFLOAT16)
#include <posenc/attention/eigen_elements.hpp>
#endif
