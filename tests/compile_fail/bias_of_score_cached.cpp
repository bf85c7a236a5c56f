// expect: what f(Score at) says is not kept, write bias(f)
#include <posenc/posenc.hpp>

using namespace posenc;

auto wrong = bias([](const Score& at) { return at.key % 2 == 0 ? 0.1f : 0.0f; }, 1'000);

int main() {}
