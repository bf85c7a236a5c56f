// Uses the default executor as a stranger would, and prints who ran.
#include <posenc/executor/chunks.hpp>
#include <posenc/version.hpp>

#include <cstdio>
#include <numeric>
#include <type_traits>
#include <vector>

int main() {
  static_assert(!std::is_same_v<posenc::DefaultExecutor, posenc::Serial>);
  const posenc::AnyExecutor executor;

  std::vector<int> squares(1000);
  posenc::for_chunks(executor, 1000, 1, [&](posenc::Index first, posenc::Index last) {
    for (posenc::Index i = first; i < last; ++i) squares[i] = static_cast<int>(i * i);
  });
  std::printf("posenc %d.%d.%d has threads: %d of them, sum %d\n", POSENC_VERSION_MAJOR,
              POSENC_VERSION_MINOR, POSENC_VERSION_PATCH, static_cast<int>(executor.concurrency()),
              std::accumulate(squares.begin(), squares.end(), 0));
}
