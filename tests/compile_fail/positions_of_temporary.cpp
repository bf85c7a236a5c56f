// expect: Positions borrow their ids, but this container is a temporary
#include <posenc/core/positions.hpp>

#include <vector>

std::vector<posenc::Position> ids();

posenc::Positions f() { return posenc::Positions(ids()); }

int main() {}
