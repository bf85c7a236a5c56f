// expect: rebase cannot begin or end to rotate values (RotateValues)
#include <posenc/posenc.hpp>

using namespace posenc;

void f(KeyValueCache<KeyState::rotated>& cache) {
  rebase(cache, 0, bind(RoPE<HalfSplit>{.head_dim = 8} | Causal{}),
         bind(RoPE<HalfSplit>{.head_dim = 8} | RotateValues{} | Causal{}));
}

int main() {}
