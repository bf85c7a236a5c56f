// expect: bias(f) needs an f that can be called
#include <posenc/posenc.hpp>

auto wrong = posenc::bias(3.0);

int main() {}
