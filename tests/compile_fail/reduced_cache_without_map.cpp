// expect: KeyState::reduced is for distance maps that see each key at one position
#include <posenc/posenc.hpp>

using namespace posenc;

void f(KeyValueCache<KeyState::reduced>& cache, TensorView<const float> k,
       TensorView<const float> v) {
  cache.append(0, k, v, bind(RoPE<HalfSplit>{.head_dim = 8} | Causal{}));
}

int main() {}
