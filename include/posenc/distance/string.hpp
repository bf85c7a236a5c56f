// SPDX-License-Identifier: MIT
//
// STRING: far distances are shifted down to ones that were trained well.
//
//   An et al., "Why does the effective context length of LLMs fall short?", arXiv 2410.18745;
//   HKUNLP/STRING, string_for_llama.py. (Another STRING, arXiv 2502.02562, learns rotations of images.)
//
//   g(D) = D                      D < shift
//          D - shift + local      D >= shift        (g(-D) = -g(D))
//
// Pretraining has few pairs of tokens that are nearly a whole context apart, so the greatest distances
// stay badly trained. Without any training, a model of length L so reads L tokens with the distances
// below L - shift + local, or up to greatest_length(L) tokens with the distances below L. The last `local`
// distances before the shift keep the neighbourhood of a token apart from what lies `shift` back: both
// meet distances from `local` on, none but the neighbours those below. Where SelfExtend and LeakyReRoPE
// crowd far tokens together and DualChunk starts anew in every chunk, here far tokens stay one apart.
//
// The authors take a shift of a quarter to two fifths of L and 128, 256 or 512 neighbours (`of_length`
// has their 0.33 and 128). Shift and local alike is RoPE; local 0 is their figure's first step, in which
// a token `shift` back looks like the token itself.
//
// Errata. Reading a prompt, the reference counts the keys at D = shift twice, once at each distance (its window
// of neighbours has shift + 1 keys); generating, once, as here. Its vLLM fork rounds the shift up to
// whole pages while it generates. Its Hugging Face patch multiplies cosines and sines by 0.1 ln 2 + 1, which
// paper and fork do not; YaRN{.original_context = L, .attention_factor = ...} does that here.
//
// Cache: rotated keys; every key is seen at its own position, and only queries move.
#pragma once

#include <posenc/distance/threshold.hpp>

#include <limits>

POSENC_NAMESPACE_BEGIN

struct STRING {
  Position shift = 43'253;  ///< first distance that is shifted; S, shifted_offset of the reference
  Position local = 128;     ///< the distance that it becomes, at most shift; W, local_value

  using enum detail::Threshold::Region;
  static constexpr int num_regions = detail::Threshold::num_regions;
  static constexpr KeyState stored_keys = KeyState::rotated;

  /// The authors' choice for a trained length: 0.33 of it, rounded down.
  [[nodiscard]] static constexpr STRING of_length(Position trained_length, Position local = 128) {
    const auto shift = static_cast<Position>(0.33 * static_cast<double>(trained_length));
    return {shift, local < shift ? local : shift};
  }

  /// The greatest length at which every distance is one of the trained ones.
  [[nodiscard]] constexpr Position greatest_length(Position trained_length) const {
    constexpr Position most = std::numeric_limits<Position>::max();
    if (trained_length < shift) return trained_length;
    return trained_length > most - (shift - local) ? most : trained_length + (shift - local);
  }

  [[nodiscard]] constexpr double distance(Position query, Position key) const {
    const int r = region(query, key);
    return query_position(r, query) - static_cast<double>(key);
  }
  [[nodiscard]] constexpr int region(Position query, Position key) const {
    return detail::Threshold{shift}.region(query, key);
  }
  [[nodiscard]] constexpr RegionSet regions(const Tile& tile) const {
    return detail::Threshold{shift}.regions(tile);
  }
  [[nodiscard]] constexpr double step(int) const { return 1; }
  [[nodiscard]] constexpr double query_position(int region, Position query) const {
    const Position back = region == near ? 0 : region == far_past ? shift - local : local - shift;
    return static_cast<double>(query - back);
  }
  [[nodiscard]] constexpr Position key_position(int, Position key) const { return key; }
  [[nodiscard]] constexpr int key_copy(int) const { return near; }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(shift > 0, "STRING: shift must be positive, got ", shift, ".");
    problems.require(local >= 0 && (local <= shift || shift <= 0),
                     "STRING: local must lie within [0, shift], got local ", local, " and shift ",
                     shift, ".");
  }
};

POSENC_NAMESPACE_END
