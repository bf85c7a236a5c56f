// expect: this f can be called only while it is not const: write `operator()(...) const`, and no `mutable` behind a lambda
#include <posenc/posenc.hpp>

using namespace posenc;

struct Recency {
  double operator()(Index, Position distance) { return -0.1 * static_cast<double>(distance); }
};
auto wrong = bias(Recency{});

int main() {}
