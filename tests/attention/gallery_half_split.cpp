// SPDX-License-Identifier: MIT
#include "gallery.hpp"

TEST_CASE("gallery: every encoding, half-split") { gallery_tests::check_all<posenc::HalfSplit>(); }
