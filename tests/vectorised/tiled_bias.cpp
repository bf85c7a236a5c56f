// expect: avx512 zmm
// expect: avx2 ymm
//
// A bias that reads tables by distance and by query.
#include <posenc/posenc.hpp>

using namespace posenc;

struct Tabulated {
  const double* by_distance;
  const double* by_query;
  [[nodiscard]] double score_bias(const Score& at) const {
    return by_distance[at.distance()] * by_query[at.query];
  }
  template <class Use>
  void tile_bias(const Tile&, Index, const Use& use) const {
    use([*this](const Score& at) { return score_bias(at); });
  }
};
static_assert(TiledBias<Tabulated> && TiledBias<PreparedFire>);

void attend(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
            TensorView<float> out, const Tabulated& tables) {
  attention(q, k, v, out, encoding(tables));
}
