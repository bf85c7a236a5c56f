// expect: RotatedKeys cannot meet a distance map (ReRoPE, LeakyReRoPE, ...)
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
       TensorView<float> out) {
  attention(q, RotatedKeys{k}, v, out, bind(RoPE<HalfSplit>{.head_dim = 8} | ReRoPE{} | Causal{}));
}

int main() {}
