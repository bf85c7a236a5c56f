// expect: RoPE needs a layout, and there is no default: write RoPE<HalfSplit>
#include <posenc/posenc.hpp>

using namespace posenc;

RoPE<> wrong{.head_dim = 8};

int main() {}
