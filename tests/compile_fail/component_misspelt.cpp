// expect: answers none of the questions
// expect: relative_bias(head, distance), score_bias(at), map_score(x, at), visible(at)
#include <posenc/posenc.hpp>

using namespace posenc;

struct Horizon {
  double Bias(Index, Position distance) const { return distance > 64 ? -4 : 0; }
};
auto wrong = Causal{} | Horizon{};

int main() {}
