// expect: an executor that options keep must be trivially copyable and at most three pointers large
#include <posenc/executor/any_executor.hpp>
#include <posenc/executor/pool.hpp>

#include <memory>

using namespace posenc;

const auto threads = std::make_shared<int>();
const AnyExecutor wrong = Pool(2, [threads = threads](Index, TaskRef) {});

int main() {}
