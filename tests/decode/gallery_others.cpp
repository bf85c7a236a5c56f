// SPDX-License-Identifier: MIT
//
// Every encoding of the gallery with a mask or a score of its own, and RotateValues.
#include "gallery.hpp"

namespace decode_test {

TEST_CASE("decode: a token at a time gives its row, others, Interleaved") {
  CHECK(check_gallery<Interleaved, Part::others>() == 11);
}

}  // namespace decode_test
