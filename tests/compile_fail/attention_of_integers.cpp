// expect: attention takes float or double
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<const int> q, TensorView<int> out) {
  attention(q, q, q, out, bind(ALiBi{} | Causal{}));
}

int main() {}
