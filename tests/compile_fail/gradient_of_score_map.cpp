// expect: this score map has no derivative: write it for any number type
#include <posenc/attention/backward.hpp>
#include <posenc/score/score_map.hpp>

using namespace posenc;

struct Halve {
  float operator()(float x) const { return x / 2; }
};

void f(const AttentionForward<float>& forward, const AttentionGradients<float>& gradients) {
  attention_backward<float>(forward, forward.out, gradients, bind(score_map(Halve{})));
}

int main() {}
