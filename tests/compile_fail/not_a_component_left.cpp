// expect: an operand of | is not a component of an encoding: it answers none of the questions
#include <posenc/posenc.hpp>

using namespace posenc;

auto wrong = 3 | Causal{};

int main() {}
