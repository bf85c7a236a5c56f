// expect: this f can be called only while it is not const: write `operator()(...) const`, and no `mutable` behind a lambda
#include <posenc/posenc.hpp>

using namespace posenc;

struct Half {
  template <class T>
  T operator()(T x) {
    return x / 2;
  }
};
auto wrong = score_map(Half{});

int main() {}
