// expect: two components of this encoding position keys by context (such as two CoPE): keep one
#include <posenc/posenc.hpp>

using namespace posenc;

auto f() { return bind(CoPE{} | CoPE{}); }

int main() {}
