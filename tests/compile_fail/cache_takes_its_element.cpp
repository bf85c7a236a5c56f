// expect: a cache takes keys and values in its own element or in what that is
#include <posenc/posenc.hpp>

using namespace posenc;

void f(KeyValueCache<KeyState::raw, float>& cache, TensorView<const double> k,
       TensorView<const double> v) {
  cache.append(0, k, v);
}

int main() {}
