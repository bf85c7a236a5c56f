// expect: Positions borrow their ids, but this container is a temporary
#include <posenc/attention/options.hpp>

#include <vector>

std::vector<posenc::Position> ids();

void f(posenc::AttentionOptions<float>& options) { options.key_positions = ids(); }

int main() {}
