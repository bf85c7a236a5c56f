// expect: an encoding has one rotary base, but this one has two
#include <posenc/posenc.hpp>

using namespace posenc;

auto wrong = RoPE<HalfSplit>{.head_dim = 8} | Causal{} | RoPE<Interleaved>{.head_dim = 8};

int main() {}
