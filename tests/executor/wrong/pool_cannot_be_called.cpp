// expect: a Pool is made of something that can be called with (Index tasks, TaskRef task)
#include <posenc/executor/pool.hpp>

using namespace posenc;

const auto wrong = Pool(2, [](TaskRef, Index) {});

int main() {}
