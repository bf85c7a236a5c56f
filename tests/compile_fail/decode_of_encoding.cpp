// expect: decode takes what bind() returns: write bind(encoding, {.num_heads = ..., .num_kv_heads = ...})
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> q, const KeyValueCache<KeyState::raw>& cache,
       TensorView<float> out) {
  decode(q, cache, out, ALiBi{} | Causal{});
}

int main() {}
