// expect: posenc: rotate takes float or double
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<int> x) { rotate(x, 0, bind(RoPE<HalfSplit>{.head_dim = 8})); }

int main() {}
