// expect: out cannot be braces: write TensorView(out.data(), tokens, heads, width)
#include <posenc/posenc.hpp>

#include <vector>

using namespace posenc;

void f(TensorView<const float> q, std::vector<float>& out) {
  attention(q, q, q, {out.data(), q.tokens, q.heads, q.width}, ALiBi{} | Causal{});
}

int main() {}
