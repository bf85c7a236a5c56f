// expect: tensors of double cannot be mixed with others in one call
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const double> q, TensorView<const float> k, TensorView<float> out) {
  attention(q, k, k, out, bind(ALiBi{} | Causal{}));
}

int main() {}
