// expect: shift cannot move keys of an encoding that adds positions to embeddings
#include <posenc/posenc.hpp>

using namespace posenc;

void f(KeyValueCache<KeyState::raw>& cache) {
  shift(cache, 0, 0, 4, 1, bind(Sinusoidal{.width = 8} | Causal{}));
}

int main() {}
