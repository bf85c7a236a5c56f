// SPDX-License-Identifier: MIT
#include "gallery.hpp"

namespace decode_test {

TEST_CASE("decode: a token at a time gives its row, every encoding, HalfSplit") {
  CHECK(check_gallery<HalfSplit>() == 54);
}

}  // namespace decode_test
