// expect: RotateValues cannot be combined with a distance map
#include <posenc/posenc.hpp>

using namespace posenc;

int main() { (void)bind(RoPE<HalfSplit>{.head_dim = 8} | RotateValues{} | ReRoPE{} | Causal{}); }
