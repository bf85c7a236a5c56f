// expect: a component answers by const members: write `float score_bias(const Score& at) const`
#include <posenc/posenc.hpp>

using namespace posenc;

struct Nearby {
  float score_bias(Index head, Position distance) const {
    return head == 0 && distance > 8 ? -1.0F : 0.0F;
  }
};
auto wrong = Nearby{} | Causal{};

int main() {}
