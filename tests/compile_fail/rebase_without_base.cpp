// expect: rebase rotates keys from one rotary encoding to another, so both need a
#include <posenc/posenc.hpp>

using namespace posenc;

void f(KeyValueCache<KeyState::rotated>& cache) {
  rebase(cache, 0, bind(RoPE<HalfSplit>{.head_dim = 8} | Causal{}), bind(ALiBi{} | Causal{}));
}

int main() {}
