// expect: a streaming cache needs raw keys (KeyState::raw)
#include <posenc/posenc.hpp>

using namespace posenc;

const auto cache = KeyValueCache<KeyState::rotated>::streaming({.head_dim = 8, .capacity = 16});

int main() {}
