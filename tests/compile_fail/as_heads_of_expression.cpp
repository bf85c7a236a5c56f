// expect: as_heads takes a matrix, map or block with memory of its own
// expect: not an unevaluated expression
#include <posenc/eigen.hpp>

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

auto f(const Matrix& a) { return posenc::as_heads(a + a, 2); }

int main() {}
