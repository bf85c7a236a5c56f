// expect: as_heads takes row-major matrices (Eigen::RowMajor)
#include <posenc/eigen.hpp>

auto f(const Eigen::MatrixXf& a) { return posenc::as_heads(a.leftCols(4), 2); }

int main() {}
