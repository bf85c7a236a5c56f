// expect: an encoding whose keys meet vectors by distance (DeBERTa) needs a cache of raw keys
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> q, const KeyValueCache<KeyState::rotated>& cache,
       TensorView<float> out) {
  decode(q, cache, out, bind(RoPE<HalfSplit>{.head_dim = 8} | DeBERTa{}));
}

int main() {}
