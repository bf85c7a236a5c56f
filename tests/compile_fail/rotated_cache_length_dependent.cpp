// expect: needs a cache of raw keys (KeyState::raw): keys rotated at one
#include <posenc/posenc.hpp>

using namespace posenc;

void f(KeyValueCache<KeyState::rotated>& cache, TensorView<const float> k,
       TensorView<const float> v) {
  cache.append(0, k, v, bind(RoPE<HalfSplit>{.head_dim = 8} | DynamicNTK{.original_context = 64}));
}

int main() {}
