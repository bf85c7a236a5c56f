// SPDX-License-Identifier: MIT
//
// Every encoding of the gallery without a rotary base.
#include "gallery.hpp"

namespace decode_test {

TEST_CASE("decode: a token at a time gives its row, biases, Interleaved") {
  CHECK(check_gallery<Interleaved, Part::biases>() == 11);
}

}  // namespace decode_test
