// expect: this view is of const elements, which cannot be written: make it a TensorView<T>, not a TensorView<const T>
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> x) { rotate(x, 0, bind(RoPE<HalfSplit>{.head_dim = 8})); }

int main() {}
