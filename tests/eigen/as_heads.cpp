// SPDX-License-Identifier: MIT
//
// Matrices as tensors of heads and back, without a copy.
#include <posenc/eigen.hpp>
#include <posenc/posenc.hpp>

#include "../support/catch.hpp"

#include <Eigen/Dense>

#include <string>
#include <type_traits>
#include <vector>

using namespace posenc;

namespace as_heads_cases {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ColumnMajor = Eigen::MatrixXf;

Matrix counting(Index rows, Index columns) {
  Matrix m(rows, columns);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(i);
  return m;
}

/// Every element of the view is that of the expression, at the same address.
template <class View, class Expression>
void same(const View& view, const Expression& m, Index heads) {
  REQUIRE(view.tokens == m.rows());
  REQUIRE(view.heads == heads);
  REQUIRE(view.width * heads == m.cols());
  for (Index t = 0; t < view.tokens; ++t)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < view.width; ++c)
        CHECK(&view(t, h, c) == &m.coeffRef(t, h * view.width + c));
}

TEST_CASE("as_heads: matrices") {
  Matrix m = counting(5, 12);
  const TensorView<float> view = as_heads(m, 3);
  same(view, m, 3);
  view(4, 2, 3) = -1;
  CHECK(m(4, 11) == -1);
  same(as_heads(m, 1), m, 1);
  same(as_heads(m, 12), m, 12);

  const Matrix& read = m;
  const auto constant = as_heads(read, 3);
  STATIC_REQUIRE(std::is_same_v<decltype(constant), const TensorView<const float>>);
  same(constant, read, 3);

  Eigen::Matrix<double, 3, 4, Eigen::RowMajor> fixed;
  same(as_heads(fixed, 2), fixed, 2);
  Eigen::Array<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> array(3, 4);
  same(as_heads(array, 2), array, 2);
}

TEST_CASE("as_heads: blocks keep the stride of their matrix") {
  Matrix qkv = counting(5, 24);
  auto k = qkv.middleCols(8, 8);
  same(as_heads(k, 2), k, 2);
  const TensorView<float> temporary = as_heads(qkv.rightCols(8), 2);
  CHECK(temporary.data == qkv.data() + 16);
  CHECK(temporary.token_stride == 24);
  CHECK(temporary(4, 1, 3) == qkv(4, 23));
  const TensorView<float> rows = as_heads(qkv.middleRows(2, 2), 4);
  CHECK(rows.tokens == 2);
  CHECK(&rows(1, 3, 5) == &qkv(3, 23));

  const Matrix& read = qkv;
  const TensorView<const float> part = as_heads(read.leftCols(8), 2);
  CHECK(part.data == qkv.data());
}

TEST_CASE("as_heads: maps") {
  std::vector<float> memory(100);
  Eigen::Map<Matrix> map(memory.data(), 5, 8);
  same(as_heads(map, 2), map, 2);
  Eigen::Map<Matrix, 0, Eigen::OuterStride<>> wide(memory.data(), 5, 8, Eigen::OuterStride<>(20));
  same(as_heads(wide, 2), wide, 2);
  using AnyStride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  Eigen::Map<Matrix, 0, AnyStride> every_second(memory.data(), 5, 8, AnyStride(20, 2));
  same(as_heads(every_second, 2), every_second, 2);
  Eigen::Ref<Matrix> ref(wide);
  same(as_heads(ref, 4), wide, 4);

  const TensorView<float> temporary = as_heads(Eigen::Map<Matrix>(memory.data(), 5, 8), 2);
  CHECK(temporary.data == memory.data());
}

TEST_CASE("as_heads: vectors") {
  // A row is one token.
  Eigen::RowVectorXf row = Eigen::RowVectorXf::LinSpaced(12, 0, 11);
  same(as_heads(row, 3), row, 3);
  Matrix m = counting(5, 12);
  auto third = m.row(2);
  same(as_heads(third, 3), third, 3);
  ColumnMajor columns = m;
  auto strided = columns.row(2);
  same(as_heads(strided, 3), strided, 3);

  // A column is one channel of each token.
  Eigen::VectorXf column = Eigen::VectorXf::LinSpaced(6, 0, 5);
  const TensorView<float> channel = as_heads(column, 1);
  CHECK(channel.tokens == 6);
  CHECK(channel.width == 1);
  for (Index t = 0; t < 6; ++t) CHECK(channel.row(t, 0) == column.data() + t);
  auto of_matrix = m.col(3);
  const TensorView<float> channel_of_matrix = as_heads(of_matrix, 1);
  for (Index t = 0; t < 5; ++t) CHECK(channel_of_matrix.row(t, 0) == &m.coeffRef(t, 3));
}

TEST_CASE("as_heads: empty matrices") {
  Matrix no_tokens(0, 8);
  CHECK(as_heads(no_tokens, 2).tokens == 0);
  CHECK(as_heads(no_tokens, 2).width == 4);
  Matrix no_channels(3, 0);
  CHECK(as_heads(no_channels, 2).width == 0);
}

TEST_CASE("as_heads: columns that do not divide into heads are refused") {
  Matrix m(5, 12);
  const Matrix& read = m;
  for (const Index heads : {5, 0, -1, -3, 24}) {
    const std::string sentence = "posenc::as_heads: a matrix of 12 columns does not divide into " +
                                 std::to_string(heads) + " heads.";
    CHECK_THROWS_WITH(as_heads(m, heads), sentence);
    CHECK_THROWS_WITH(as_heads(read, heads), sentence);
    CHECK_THROWS_WITH(as_heads(m.leftCols(12), heads), sentence);
  }
}

TEST_CASE("as_matrix: contiguous heads, without a copy") {
  std::vector<float> memory(200);
  const TensorView<float> view(memory.data(), 5, 3, 4);
  auto m = as_matrix(view);
  CHECK(m.rows() == 5);
  CHECK(m.cols() == 12);
  m(4, 11) = 7;
  CHECK(view(4, 2, 3) == 7);
  const TensorView<float> packed(memory.data(), 5, 3, 4, 36, 4);
  CHECK(&as_matrix(packed).coeffRef(2, 5) == &packed(2, 1, 1));
  const TensorView<const float> read = view;
  CHECK(as_matrix(read)(4, 11) == 7);
  CHECK(as_matrix(read).data() == memory.data());
  const TensorView<float> one_head(memory.data(), 5, 1, 4, 10, 999);
  CHECK(&as_matrix(one_head).coeffRef(2, 3) == &one_head(2, 0, 3));
  CHECK(as_matrix(TensorView<float>(nullptr, 0, 3, 4)).rows() == 0);

  Matrix there = counting(5, 12);
  CHECK(as_matrix(as_heads(there, 3)) == there);
}

TEST_CASE("as_matrix: heads that are not contiguous are refused") {
  std::vector<float> memory(200);
  const auto refused = ContainsSubstring("the heads of a token must be contiguous");
  CHECK_THROWS_WITH(as_matrix(TensorView<float>::head_major(memory.data(), 3, 5, 4)), refused);
  CHECK_THROWS_WITH(as_matrix(TensorView<float>(memory.data(), 5, 3, 4, 24, 8, 2)), refused);
  CHECK_THROWS_WITH(as_matrix(TensorView<float>(memory.data(), 5, 3, 4, 12, 4, 2)), refused);
  CHECK_THROWS_WITH(as_matrix(TensorView<float>(memory.data(), 5, 3, 4, 8, 4)), refused);
  CHECK_THROWS_WITH(as_matrix(TensorView<float>(memory.data() + 100, 5, 3, 4, -12, 4)), refused);
}

TEST_CASE("attention through Eigen, from one packed matrix and back into it") {
  constexpr Index tokens = 9, heads = 2, d = 4, width = heads * d;
  Matrix qkv = Matrix::Random(tokens, 3 * width), out(tokens, width);
  const auto bound = bind(encoding(Causal{}), {.num_heads = heads});
  attention(as_heads(qkv.leftCols(width), heads), as_heads(qkv.middleCols(width, width), heads),
            as_heads(qkv.rightCols(width), heads), as_heads(out, heads), bound);

  for (Index h = 0; h < heads; ++h) {
    const Eigen::MatrixXd q = qkv.middleCols(h * d, d).cast<double>(),
                          k = qkv.middleCols(width + h * d, d).cast<double>(),
                          v = qkv.middleCols(2 * width + h * d, d).cast<double>();
    const Eigen::MatrixXd scores = q * k.transpose() / 2;
    for (Index t = 0; t < tokens; ++t) {
      Eigen::RowVectorXd p = scores.row(t).head(t + 1).array().exp();
      p /= p.sum();
      const Eigen::RowVectorXd expected = p * v.topRows(t + 1);
      CHECK((out.row(t).segment(h * d, d).cast<double>() - expected).cwiseAbs().maxCoeff() < 1e-6);
    }
  }

  const Matrix before = qkv;
  const auto queries = as_heads(qkv.leftCols(width), heads);
  attention(queries, as_heads(qkv.middleCols(width, width), heads),
            as_heads(qkv.rightCols(width), heads), queries, bound);
  CHECK(qkv.leftCols(width) == out);
  CHECK(qkv.rightCols(2 * width) == before.rightCols(2 * width));
}

}  // namespace as_heads_cases
