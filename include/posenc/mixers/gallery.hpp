// SPDX-License-Identifier: MIT
//
// The gallery of mixers: every one that the library knows, ready to run. Tests and benchmarks walk through it, so a
// new mixer joins them with one line here.
#pragma once

#include <posenc/mixers/mixers.hpp>

#include <cstdint>
#include <string_view>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// What a mixer of the gallery is made for; those of one width for keys and values take key_dim.
struct GallerySetting {
  Index heads = 4;
  Index key_dim = 64;
  Index value_dim = 64;
  std::uint64_t seed = 1;  ///< of parameters that are drawn
};

struct GalleryEntry {
  std::string_view name;
  std::string_view source;       ///< paper (arXiv number)
  double decay_low, decay_high;  ///< what the decay by token may be drawn from
  bool is_positive = false;      ///< queries and keys are features, which are positive
};

/// Calls visit(entry, mixer) for each mixer.
template <class Visit>
void for_each_in_gallery(const GallerySetting& at, Visit&& visit) {
  const Index H = at.heads, K = at.key_dim, V = at.value_dim;
  visit(GalleryEntry{"LinearAttention", "2006.16236", 0, 0, true}, LinearAttention{H, K, V});
  visit(GalleryEntry{"LinearAttention, plain", "2006.16236", 0, 0},
        LinearAttention{.num_heads = H, .key_dim = K, .value_dim = V, .normalise = false});
  visit(GalleryEntry{"RetNet", "2307.08621", 0, 0}, RetNet{H, K, V});
  visit(GalleryEntry{"RetNet, row", "2307.08621", 0, 0}, RetNet{H, K, V, Retention::row});
  visit(GalleryEntry{"RetNet, absolute", "2307.08621", 0, 0}, RetNet{H, K, V, Retention::absolute});
  visit(GalleryEntry{"GLA", "2312.06635", -4, 8}, GLA{H, K, V});
  visit(GalleryEntry{"GLA, log", "2312.06635", -3, 0},
        GLA{.num_heads = H, .key_dim = K, .value_dim = V, .logits = false});
  // as a layer begins, with two groups where that divides the heads
  Mamba2 mamba = Mamba2::initial(H * V, at.seed, 1, V, K);
  mamba.ngroups = H % 2 == 0 ? 2 : 1;
  visit(GalleryEntry{"Mamba2", "2405.21060", -3, 3}, mamba);
  visit(GalleryEntry{"RWKV5", "2404.05892", 0, 0}, RWKV5::initial(H, 1, 3, K));
  visit(GalleryEntry{"RWKV6", "2404.05892", -6, 1}, RWKV6::initial(H, 1, 3, K));
  visit(GalleryEntry{"DeltaNet", "2406.06484", 0, 0}, DeltaNet{H, K, V});
  GatedDeltaNet gated{H, K, V};
  gated.num_key_heads = H % 2 == 0 ? H / 2 : H;
  visit(GalleryEntry{"GatedDeltaNet", "2412.06464", -2, 0}, gated);
  visit(GalleryEntry{"KDA", "2510.26692", -2, 0}, KDA{H, K, V});
  visit(GalleryEntry{"RWKV7", "2503.14456", -6, 6}, RWKV7{H, K});
  visit(GalleryEntry{"RWKV7, log", "2503.14456", -3, 0},
        RWKV7{.num_heads = H, .head_size = K, .logits = false});
}

}  // namespace mixers

POSENC_NAMESPACE_END
