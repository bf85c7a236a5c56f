// expect: answers none of the questions
#include <posenc/posenc.hpp>

using namespace posenc;

struct Horizon {
  double relativeBias(Index, Position distance) const { return distance > 64 ? -4 : 0; }
};
auto wrong = bind(Horizon{});

int main() {}
