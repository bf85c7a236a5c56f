// expect: out cannot be braces: write TensorView(out.data(), tokens, heads, width)
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> q) { attention(q, q, q, {}, bind(ALiBi{} | Causal{})); }

int main() {}
