// SPDX-License-Identifier: MIT
//
// No component of the library contradicts itself.
#include <posenc/gallery.hpp>

#include "contradictions.hpp"

using namespace validate_test;

namespace gallery_cases {

TEST_CASE("validate: every encoding of the gallery") {
  constexpr GallerySetting setting{.head_dim = 64, .num_heads = 4, .trained = 512, .target = 2048};
  const ValidateOptions options{
      .shape = {.num_heads = 4, .num_kv_heads = 4, .head_dim = 64}, .extent = 2500, .tiles = 400};
  int encodings = 0;
  for_each_in_gallery<HalfSplit>(setting, [&](const GalleryEntry& entry, const auto& encoding) {
    INFO(entry.name);
    CHECK(contradictions(encoding, options).text.empty());
    ++encodings;
  });
  CHECK(encodings > 40);
}

TEST_CASE("validate: embeddings, unions of masks, and masks of positions in documents") {
  CHECK(contradictions(Sinusoidal{.width = 33}).text.empty());
  CHECK(contradictions(
            LearnedAbsolute{.table = std::vector<float>(64 * 8, 0.5F), .length = 64, .width = 8})
            .text.empty());
  CHECK(contradictions(any_of(SlidingWindow{.left = 40, .dilation = 3}, PrefixLM{.prefix = 70}))
            .text.empty());
  CHECK(contradictions(Documents{.starts = {0, 5, 900, 901, 3000}}).text.empty());
}

}  // namespace gallery_cases
