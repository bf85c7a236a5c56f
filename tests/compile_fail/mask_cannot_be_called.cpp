// expect: mask(f) needs an f that can be called
#include <posenc/posenc.hpp>

auto wrong = posenc::mask([](posenc::Position, posenc::Position) { return true; });

int main() {}
