// expect: an operand of | is not a component of an encoding: it answers none of the questions
#include <posenc/posenc.hpp>

auto wrong = posenc::encoding(posenc::Causal{}, 1.5);

int main() {}
