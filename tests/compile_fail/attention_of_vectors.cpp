// expect: attention takes views of q, k, v and out: write TensorView(q.data(), tokens, heads, width)
#include <posenc/posenc.hpp>

#include <vector>

using namespace posenc;

void f(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v,
       std::vector<float>& out) {
  attention(q, k, v, out, bind(RoPE<HalfSplit>{.head_dim = 8} | Causal{}));
}

int main() {}
