// expect: as_heads would point into a temporary matrix that is about to be destroyed
#include <posenc/eigen.hpp>

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

auto f(const Matrix& a) { return posenc::as_heads(Matrix(2 * a), 2); }

int main() {}
