// SPDX-License-Identifier: MIT
#include "gallery.hpp"

namespace decode_test {

TEST_CASE("decode: a token at a time gives its row, every encoding, Interleaved") {
  CHECK(check_gallery<Interleaved>() == 54);
}

}  // namespace decode_test
