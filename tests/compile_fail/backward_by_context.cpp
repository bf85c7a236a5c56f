// expect: positions by context (CoPE) depend on all keys behind one: attention and decode know them, and of gradients
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> x, std::span<const float> lse, TensorView<float> d) {
  attention_backward<float>({x, x, x, x, lse}, x, {d, d, d}, bind(CoPE{} | Causal{}));
}

int main() {}
