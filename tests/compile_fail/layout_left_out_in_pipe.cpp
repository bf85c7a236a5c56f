// expect: RoPE needs a layout, and there is no default: write RoPE<HalfSplit>
#include <posenc/posenc.hpp>

using namespace posenc;

auto wrong = RoPE<>{.head_dim = 8} | Causal{};

int main() {}
