// Uses the library as a stranger would, and prints what it did.
#if __has_include(<posenc/posenc.hpp>)
#include <posenc/posenc.hpp>
#endif
#include <posenc/core/rotary_state.hpp>
#include <posenc/core/view.hpp>
#include <posenc/version.hpp>

#include <cstdio>
#include <vector>

int main() {
  // These two would be errors with the flags that posenc compiles itself with: flags are not
  // imposed.
  int unused_here;
  const float narrowed = 1.0 / 3.0 + POSENC_VERSION_MINOR;

  std::vector<float> memory(4 * 2 * 8, narrowed);
  const posenc::TensorView<float> keys(memory.data(), 4, 2, 8);
  const posenc::Frequencies inv_freq = posenc::geometric_frequencies(10000, keys.width);
  std::printf("posenc %d.%d.%d turns pair %d by %g radians per token\n", POSENC_VERSION_MAJOR,
              POSENC_VERSION_MINOR, POSENC_VERSION_PATCH, static_cast<int>(inv_freq.size()) - 1,
              inv_freq[inv_freq.size() - 1]);
}
