// expect: avx512 zmm
// expect: avx2 ymm
#include <posenc/posenc.hpp>

using namespace posenc;

void attend(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
            TensorView<float> out) {
  attention(q, k, v, out, encoding(mask([](Score at) {
              const Position distance = at.query_index - at.key_index;
              return distance >= 0 && (distance & 1) == 0;
            })));
}
