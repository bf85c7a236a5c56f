// expect: attention takes what bind() returns: write bind(component, {.num_heads = ..., .num_kv_heads = ...})
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> q, TensorView<float> out) { attention(q, q, q, out, Causal{}); }

int main() {}
