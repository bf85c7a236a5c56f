// SPDX-License-Identifier: MIT
//
// What the parts of bench_policies share: how an encoding becomes a row. Each part instantiates the
// kernel for some encodings, so that none takes minutes to compile.
#pragma once

#include "support/attention.hpp"

#include <posenc/gallery.hpp>

#include <functional>
#include <memory>
#include <string>

namespace bench {

struct PolicySetting {
  AttentionSize size{.tokens = 8192, .heads = 2, .kv_heads = 1};
  posenc::Position trained = 2048;  ///< length that extensions start from

  [[nodiscard]] posenc::RoPE<posenc::HalfSplit> rope() const { return {.head_dim = size.width}; }
};

using Pass = std::function<void()>;
using MakePass = std::function<Pass(const AttentionTensors&)>;

/// A row: `make` prepares what is timed. Rotating encodings with a distance map are compared with
/// RoPE too.
void add_row(const PolicySetting& at, const std::string& name, bool against_rope, MakePass make);

template <class... Ts>
MakePass pass_maker(const PolicySetting& at, const posenc::Encoding<Ts...>& encoding) {
  const auto bound = bind(encoding, {.num_heads = at.size.heads, .num_kv_heads = at.size.kv_heads});
  using AttentionPassT = AttentionPass<posenc::Encoding<Ts...>>;
  return [bound](const AttentionTensors& on) -> Pass {
    return [pass = std::make_shared<AttentionPassT>(on, bound)] { (*pass)(); };
  };
}

template <class... Ts>
void add_policy(const PolicySetting& at, const std::string& name,
                const posenc::Encoding<Ts...>& encoding) {
  constexpr bool against_rope = posenc::Encoding<Ts...>::num_distance_maps > 0;
  add_row(at, name, against_rope, pass_maker(at, encoding));
}

// The parts.
void add_frequency_schemes(const PolicySetting& at);  ///< of the gallery
void add_other_encodings(const PolicySetting& at);    ///< of the gallery
void add_stacks(const PolicySetting& at);             ///< and encodings of one's own

/// The encodings of the gallery that transform frequencies, or the others.
template <bool transforms_frequencies>
void add_from_gallery(const PolicySetting& at) {
  using namespace posenc;
  const GallerySetting setting{.head_dim = at.size.width,
                               .num_heads = at.size.heads,
                               .trained = at.trained,
                               .target = std::max<Position>(4 * at.trained, at.size.tokens)};
  for_each_in_gallery<HalfSplit>(setting, [&at](const GalleryEntry& entry, const auto& encoding) {
    using E = std::remove_cvref_t<decltype(encoding)>;
    if constexpr (E::transforms_frequencies == transforms_frequencies)
      add_policy(at, std::string(entry.name), encoding);
  });
}

}  // namespace bench
