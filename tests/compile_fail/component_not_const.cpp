// expect: a component answers by const members: write `double relative_bias(Index head, Position distance) const`
#include <posenc/posenc.hpp>

using namespace posenc;

struct Horizon {
  double relative_bias(Index, Position distance) { return distance > 64 ? -4 : 0; }
};
auto wrong = RoPE<HalfSplit>{.head_dim = 8} | Horizon{} | Causal{};

int main() {}
