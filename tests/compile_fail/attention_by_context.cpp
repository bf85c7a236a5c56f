// expect: positions by context (CoPE) depend on all keys behind one, and the kernels meet keys tile by tile
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> x, TensorView<float> out) {
  attention(x, x, x, out, bind(CoPE{} | Causal{}));
}

int main() {}
