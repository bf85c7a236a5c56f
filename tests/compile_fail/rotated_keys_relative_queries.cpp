// expect: RotatedKeys cannot meet an encoding whose keys meet vectors by distance (DeBERTa)
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
       TensorView<float> out) {
  attention(q, RotatedKeys{k}, v, out, bind(RoPE<HalfSplit>{.head_dim = 8} | DeBERTa{}));
}

int main() {}
