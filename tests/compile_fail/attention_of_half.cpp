// expect: attention takes float or double
#include <posenc/posenc.hpp>

#include <cstdint>

using namespace posenc;

/// The bits of a 16-bit float, as buffers of half precision often hold them.
void f(TensorView<const std::uint16_t> q, TensorView<std::uint16_t> out) {
  attention(q, q, q, out, encoding(Causal{}));
}

int main() {}
