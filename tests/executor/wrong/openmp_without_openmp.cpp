// expect: posenc/executor/openmp.hpp needs OpenMP: compile with -fopenmp
#define POSENC_EXECUTOR_OPENMP
#include <posenc/executor/any_executor.hpp>

int main() {}
