// expect: avx512 zmm
// expect: avx2 ymm
#include <posenc/posenc.hpp>

using namespace posenc;

void attend(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
            TensorView<float> out) {
  attention(q, k, v, out, encoding(score_map([](auto x) { return x * x / (1 + x * x); })));
}
