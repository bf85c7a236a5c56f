// expect: score_map(f) needs an f that can be called
#include <posenc/posenc.hpp>

auto wrong = posenc::score_map([]() { return 1.0; });

int main() {}
