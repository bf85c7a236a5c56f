// expect: cannot read a cache of rotated keys: far pairs need the key at another position
#include <posenc/posenc.hpp>

using namespace posenc;

void f(const KeyValueCache<KeyState::rotated>& cache, TensorView<const float> q,
       TensorView<float> out) {
  decode(q, cache, out, bind(RoPE<HalfSplit>{.head_dim = 8} | ReRoPE{} | Causal{}));
}

int main() {}
