// expect: decode cannot run vectors by distance (ShawKeys, TransformerXL, DeBERTa)
#include <posenc/posenc.hpp>

using namespace posenc;

void f(const KeyValueCache<KeyState::raw>& cache, TensorView<const float> q,
       TensorView<float> out) {
  decode(q, cache, out, bind(ShawKeys{} | Causal{}));
}

int main() {}
