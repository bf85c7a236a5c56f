// expect: RotateValues needs a rotary base
#include <posenc/posenc.hpp>

using namespace posenc;

int main() { (void)bind(RotateValues{} | Causal{}); }
