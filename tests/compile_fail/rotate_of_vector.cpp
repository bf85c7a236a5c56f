// expect: rotate takes views: write TensorView(x.data(), tokens, heads, width)
#include <posenc/posenc.hpp>

#include <vector>

using namespace posenc;

void f(std::vector<float>& q, std::vector<float>& k) {
  rotate(q, k, 0, bind(RoPE<HalfSplit>{.head_dim = 8}));
}

int main() {}
