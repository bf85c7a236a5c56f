// expect: needs a cache of raw keys (KeyState::raw): keys rotated at one
#include <posenc/posenc.hpp>

using namespace posenc;

void f(const KeyValueCache<KeyState::rotated>& cache, TensorView<const float> q,
       TensorView<float> out) {
  decode(q, cache, out,
         bind(RoPE<HalfSplit>{.head_dim = 8} | Dynamic<YaRN>{{.original_context = 64}}));
}

int main() {}
