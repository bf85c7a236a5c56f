// SPDX-License-Identifier: MIT
#include "gallery.hpp"

TEST_CASE("gallery: every encoding, interleaved") {
  gallery_tests::check_all<posenc::Interleaved>();
}
