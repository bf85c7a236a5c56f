// expect: Dynamic<Scheme> varies the `factor` of a static frequency scheme
// expect: For NTK, write DynamicNTK.
#include <posenc/posenc.hpp>

using namespace posenc;

Dynamic<NTK> wrong{};

int main() {}
