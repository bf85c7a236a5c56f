// expect: has num_parameters(), but no const member that says their gradient
#include <posenc/bias/bias.hpp>
#include <posenc/bind/bind.hpp>

using namespace posenc;

struct Decay {
  float rate;
  double operator()(Index, Position distance) const { return -rate * static_cast<float>(distance); }
  Index num_parameters() const { return 1; }
  void gradient(Index, Position distance, double sum, std::span<double> gradient) {  // not const
    gradient[0] -= static_cast<double>(distance) * sum;
  }
};

auto bound = bind(bias(Decay{1}));

int main() {}
