// expect: this encoding has no rotary base, so there is nothing to rotate
#include <posenc/posenc.hpp>

using namespace posenc;

void f(TensorView<float> x) { unrotate(x, 0, bind(ALiBi{} | Causal{})); }

int main() {}
