// expect: a cache of rotated keys has to know how to rotate them
#include <posenc/posenc.hpp>

using namespace posenc;

void f(KeyValueCache<KeyState::rotated>& cache, TensorView<const float> k,
       TensorView<const float> v) {
  cache.append(0, k, v);
}

int main() {}
