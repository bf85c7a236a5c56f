// SPDX-License-Identifier: MIT
//
// Every scheme of frequencies of the gallery.
#include "gallery.hpp"

namespace decode_test {

TEST_CASE("decode: a token at a time gives its row, frequencies, HalfSplit") {
  CHECK(check_gallery<HalfSplit, Part::frequencies>() == 17);
}
TEST_CASE("decode: a token at a time gives its row, frequencies, Interleaved") {
  CHECK(check_gallery<Interleaved, Part::frequencies>() == 17);
}

}  // namespace decode_test
