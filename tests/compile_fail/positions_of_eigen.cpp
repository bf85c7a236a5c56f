// expect: Where they do, as in an Eigen vector, write std::span(ids.data(), ids.size());
#include <posenc/posenc.hpp>

#include <Eigen/Core>

using namespace posenc;

void f(TensorView<float> x, const Eigen::Matrix<Position, Eigen::Dynamic, 1>& ids) {
  rotate(x, std::span(ids.data(), ids.size()), bind(RoPE<HalfSplit>{.head_dim = 8}));
  rotate(x, ids, bind(RoPE<HalfSplit>{.head_dim = 8}));
}

int main() {}
