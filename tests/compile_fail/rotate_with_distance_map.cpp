// expect: an encoding with a distance map (ReRoPE, LeakyReRoPE, ...) has no single rotation
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<float> x) { rotate(x, 0, bind(RoPE<HalfSplit>{.head_dim = 8} | ReRoPE{})); }

int main() {}
