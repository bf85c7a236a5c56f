// expect: a component answers by const members: write `ContextTable context_positions() const`
#include <posenc/posenc.hpp>

using namespace posenc;

struct Count {
  ContextTable context_positions() { return {}; }
  bool visible(const Score&) const { return true; }
};

auto f() { return bind(Count{} | Causal{}); }

int main() {}
