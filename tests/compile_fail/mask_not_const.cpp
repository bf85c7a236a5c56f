// expect: this f can be called only while it is not const: write `operator()(...) const`, and no `mutable` behind a lambda
#include <posenc/posenc.hpp>

using namespace posenc;

auto wrong = mask([seen = 0](const Score& at) mutable { return at.key_index >= seen++; });

int main() {}
