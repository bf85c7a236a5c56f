// SPDX-License-Identifier: MIT
//
// Every distance map of the gallery.
#include "gallery.hpp"

namespace decode_test {

TEST_CASE("decode: a token at a time gives its row, maps, HalfSplit") {
  CHECK(check_gallery<HalfSplit, Part::maps>() == 6);
}

}  // namespace decode_test
