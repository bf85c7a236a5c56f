// expect: this view is of const elements, which cannot be written: make it a TensorView<T>, not a TensorView<const T>
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const float> q, const KeyValueCache<KeyState::raw>& cache,
       TensorView<const float> out) {
  decode(q, cache, out, bind(ALiBi{} | Causal{}));
}

int main() {}
