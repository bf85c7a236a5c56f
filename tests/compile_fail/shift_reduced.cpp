// expect: shift cannot move reduced keys (KeyState::reduced)
#include <posenc/posenc.hpp>

using namespace posenc;

void f(KeyValueCache<KeyState::reduced>& cache) {
  shift(cache, 0, 0, 4, 1, bind(RoPE<HalfSplit>{.head_dim = 8} | DualChunk{} | Causal{}));
}

int main() {}
