// SPDX-License-Identifier: MIT
//
// Maps and blocks of constant memory, named or not, read as views of const.
#include <posenc/eigen.hpp>

#include "../support/catch.hpp"

#include <Eigen/Core>

#include <vector>

using namespace posenc;

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

TEST_CASE("as_heads: maps of constant memory read as constant") {
  const std::vector<float> memory(100);
  Eigen::Map<const Matrix> map(memory.data(), 5, 8);
  const TensorView<const float> view = as_heads(map, 2);
  CHECK(view.data == memory.data());
  const TensorView<const float> temporary =
      as_heads(Eigen::Map<const Matrix>(memory.data(), 5, 8), 2);
  CHECK(temporary.data == memory.data());
  const Eigen::Ref<const Matrix> ref(map);
  const TensorView<const float> of_ref = as_heads(ref, 2);
  CHECK(of_ref.data == memory.data());

  const Matrix matrix = Matrix::Zero(5, 8);
  auto block = matrix.leftCols(4);
  const TensorView<const float> of_block = as_heads(block, 2);
  CHECK(of_block.data == matrix.data());
}
