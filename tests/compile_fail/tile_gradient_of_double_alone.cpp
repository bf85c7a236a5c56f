// expect: gradients may be float or double: write
#include <posenc/attention/backward.hpp>

using namespace posenc;

struct Learned {
  static constexpr bool differentiable = true;
  double score_bias(const Score& at) const { return 0.5 * static_cast<double>(at.key % 7); }
  Index num_parameters() const { return 1; }
  void score_bias_gradient(const Score&, double, std::span<double>) const {}
  void tile_bias_gradient(const Tile&, Index, std::span<const Position>, const double*, Index,
                          std::span<double>) const {}
};

auto encoding() { return Learned{} | Causal{}; }

int main() {}
