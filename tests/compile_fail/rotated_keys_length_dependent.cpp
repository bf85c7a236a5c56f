// expect: RotatedKeys cannot meet a scheme whose frequencies depend on the length
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
       TensorView<float> out) {
  const auto bound =
      bind(RoPE<HalfSplit>{.head_dim = 8} | DynamicNTK{.original_context = 64} | Causal{});
  attention(q, RotatedKeys{k}, v, out, bound);
}

int main() {}
