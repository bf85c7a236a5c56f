// expect: posenc has one default executor per translation unit
#define POSENC_EXECUTOR_OPENMP
#define POSENC_EXECUTOR_TBB
#include <posenc/core/types.hpp>

int main() {}
