// expect: position ids are posenc::Position (std::int64_t) or double: write std::vector<posenc::Position>
#include <posenc/posenc.hpp>

#include <vector>

using namespace posenc;

void f(TensorView<float> x, const std::vector<int>& ids) {
  attention(x, x, x, x, bind(ALiBi{} | Causal{}), {.query_positions = ids});
}

int main() {}
