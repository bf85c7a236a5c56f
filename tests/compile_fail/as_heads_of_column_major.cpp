// expect: as_heads takes row-major matrices (Eigen::RowMajor)
#include <posenc/eigen.hpp>

auto f(Eigen::MatrixXf& a) { return posenc::as_heads(a, 2); }

int main() {}
