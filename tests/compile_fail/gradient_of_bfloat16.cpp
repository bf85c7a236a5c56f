// expect: attention_backward takes float or double
#include <posenc/attention/backward.hpp>
#include <posenc/eigen.hpp>
#include <posenc/mask/causal.hpp>

using namespace posenc;
using T = Eigen::bfloat16;

void f(const AttentionForward<T>& forward, const AttentionGradients<T>& gradients) {
  attention_backward<T>(forward, forward.out, gradients, bind(Causal{}));
}

int main() {}
