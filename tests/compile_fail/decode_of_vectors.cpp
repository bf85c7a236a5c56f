// expect: decode takes views of q and out: write TensorView(q.data(), tokens, heads, width)
#include <posenc/posenc.hpp>

#include <vector>

using namespace posenc;

void f(const std::vector<float>& q, const KeyValueCache<KeyState::raw>& cache,
       std::vector<float>& out) {
  decode(q, cache, out, bind(ALiBi{} | Causal{}));
}

int main() {}
