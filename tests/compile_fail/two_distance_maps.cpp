// expect: an encoding has one distance map, but this one has two
#include <posenc/posenc.hpp>

using namespace posenc;

auto wrong = RoPE<HalfSplit>{.head_dim = 8} | ReRoPE{} | LeakyReRoPE{};

int main() {}
