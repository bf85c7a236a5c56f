// expect: attention takes views of q, k, v and out: write TensorView(q.data(), tokens, heads, width)
#include <posenc/posenc.hpp>

#include <vector>

using namespace posenc;

void f(const std::vector<double>& q, TensorView<const double> k, TensorView<double> out,
       std::vector<double>& lse) {
  attention(q, k, k, out, bind(ALiBi{} | Causal{}), {.lse = lse});
}

int main() {}
