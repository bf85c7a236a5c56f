// expect: avx512 zmm
// expect: avx2 ymm
// Without posenc.hpp, which leaves the library's own components to posenc::kernels.
#include <posenc/attention/attention.hpp>
#include <posenc/score/soft_cap.hpp>

using namespace posenc;

void attend(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
            TensorView<float> out) {
  attention(q, k, v, out, encoding(SoftCap{50}));
}
