// expect: avx512 zmm
//
// Lengths are 64-bit integers; AVX2 cannot turn these into floats, so only AVX-512 is expected.
#include <posenc/posenc.hpp>

using namespace posenc;

struct RecencyBonus {
  float strength, half_life;
  float operator()(Score at) const {
    return strength * half_life / (half_life + static_cast<float>(at.distance()));
  }
};

void attend(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
            TensorView<float> out) {
  attention(q, k, v, out, encoding(bias(RecencyBonus{1.5F, 64})));
}
