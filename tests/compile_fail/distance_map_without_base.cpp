// expect: this encoding rewrites rotary distances (ReRoPE, LeakyReRoPE, ...) but has no rotary base
#include <posenc/posenc.hpp>

using namespace posenc;

int main() { (void)bind(ReRoPE{} | Causal{}); }
