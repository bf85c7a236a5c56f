// expect: rebase cannot change the layout of keys (HalfSplit, Interleaved)
#include <posenc/posenc.hpp>

using namespace posenc;

void f(KeyValueCache<KeyState::rotated>& cache) {
  rebase(cache, 0, bind(RoPE<HalfSplit>{.head_dim = 8} | Causal{}),
         bind(RoPE<Interleaved>{.head_dim = 8} | Causal{}));
}

int main() {}
