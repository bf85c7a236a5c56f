// expect: has token_bias_gradient(), which adds to the gradients of parameters
#include <posenc/attention/backward.hpp>

using namespace posenc;

struct Gates {
  double score_bias(const Score& at) const { return static_cast<double>(at.key_index); }
  Index num_parameters() const { return 2; }
  Index num_sums() const { return 1; }
  void score_bias_gradient(const Score&, double, std::span<double>) const {}
  void token_bias_gradient(const TokenGradients&, std::span<double>) const {}
  void gradient_of_sums(std::span<const double>, std::span<double>) const {}
};

auto encoding() { return Gates{} | Causal{}; }

int main() {}
