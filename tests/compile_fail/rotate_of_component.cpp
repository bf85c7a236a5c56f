// expect: rotate takes what bind() returns: write bind(component)
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<float> x) { rotate(x, 0, RoPE<HalfSplit>{.head_dim = 8}); }

int main() {}
