// expect: attention_backward takes what bind() returns, the same as attention: write bind(encoding, {.num_heads
#include <posenc/posenc.hpp>

using namespace posenc;

void f(const AttentionForward<float>& forward, TensorView<const float> d_out,
       TensorView<float> dq) {
  attention_backward(forward, d_out, {dq, dq, dq}, ALiBi{} | Causal{});
}

int main() {}
