// expect: this encoding changes rotary frequencies (PI, NTK, YaRN, ...) but has no rotary base
#include <posenc/posenc.hpp>

using namespace posenc;

int main() { (void)bind(YaRN{.factor = 4} | Causal{}); }
