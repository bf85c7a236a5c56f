// expect: an executor that options keep must be trivially copyable and at most three pointers large
// expect: capture your pool by reference or by pointer, and keep it alive as long as the executor.
#include <posenc/executor/any_executor.hpp>
#include <posenc/executor/pool.hpp>

using namespace posenc;

struct Threads {
  void run(Index, TaskRef) const {}
  char state[64];
};

const Threads threads{};
const AnyExecutor wrong =
    Pool(2, [threads = threads](Index tasks, TaskRef task) { threads.run(tasks, task); });

int main() {}
