// SPDX-License-Identifier: MIT
//
// MRoPE: positions of several coordinates, (time, height, width), shared out among the pairs.
//
//   Qwen2-VL, arXiv 2409.12191, section 2.1; transformers, models/qwen2_vl/modeling_qwen2_vl.py and
//   models/qwen3_vl/modeling_qwen3_vl.py. Keys `mrope_section`, `mrope_interleaved`.
//
// Frequencies stay those of RoPE over all pairs; each pair turns by one coordinate:
//
//   angle_i = p[axis(i)] w_i
//
//   chunked       axis(i) = 0 for the first sections[0] pairs, 1 for the next sections[1], ...
//   interleaved   axis(i) = 1 for i = 1, 4, 7, ... below 3 sections[1], 2 for i = 2, 5, 8, ...
//                 below 3 sections[2], and 0 for all others
//
//   model                        sections      pairs of
//   Qwen2-VL, Qwen2.5-VL         16, 24, 24    128 channels, HalfSplit
//   GLM-4.1V, GLM-4.5V           8, 12, 12     64 of 128 channels, Interleaved (layout, not axes)
//   Qwen3-VL                     24, 20, 20    128 channels, HalfSplit, interleaved axes
//   Qwen3.5                      11, 11, 10    64 of 256 channels, HalfSplit, interleaved axes
//
// Chunks give time the fast pairs and width the slow ones; interleaving gives all a whole spectrum.
//
// Text: all coordinates of a token are equal, and that is plain RoPE, whatever the sections. An
// image or video block that starts at position p puts its tokens at (p + frame, p + row,
// p + column) of its merged grid; text goes on at the greatest coordinate so far plus one.
//
// ggml's interleaved mode (IMROPE) gives the pairs that no section claims by its turn to a fourth
// coordinate, not to time: pairs 61 and 62 of 24, 20, 20, which text leaves unturned there.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/positions.hpp>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>

POSENC_NAMESPACE_BEGIN

struct MRoPE {
  /// Pairs per coordinate, 2 to 4 of them.
  class Sections {
   public:
    constexpr Sections() = default;
    constexpr Sections(std::initializer_list<Index> pairs)
        : Sections(std::span(pairs.begin(), pairs.size())) {}
    constexpr explicit Sections(std::span<const Index> pairs) : axes_(pairs.size()) {
      std::copy_n(pairs.begin(), std::min(axes_, pairs_.size()), pairs_.begin());
    }

    /// How many were given; those beyond Positions::most_axes are not kept, and refused by bind().
    [[nodiscard]] constexpr int axes() const { return static_cast<int>(axes_); }
    [[nodiscard]] constexpr Index operator[](int axis) const {
      return pairs_[static_cast<std::size_t>(axis)];
    }
    [[nodiscard]] constexpr auto begin() const { return pairs_.begin(); }
    [[nodiscard]] constexpr auto end() const {
      return pairs_.begin() + static_cast<std::ptrdiff_t>(std::min(axes_, pairs_.size()));
    }
    bool operator==(const Sections&) const = default;

   private:
    std::array<Index, static_cast<std::size_t>(Positions::most_axes)> pairs_{};
    std::size_t axes_ = 0;
  };

  Sections sections{};       ///< pairs that turn by each coordinate; they sum to all rotary pairs
  bool interleaved = false;  ///< coordinates take turns; needs three sections

  bool operator==(const MRoPE&) const = default;

  /// The coordinate that turns a pair.
  [[nodiscard]] constexpr int axis(Index pair) const {
    if (interleaved) {
      const auto turn = static_cast<int>(pair % 3);
      return pair < 3 * sections[turn] ? turn : 0;
    }
    int axis = 0;
    for (Index end = sections[0]; pair >= end && axis + 1 < sections.axes(); end += sections[axis])
      ++axis;
    return axis;
  }

  void transform(RotaryState& state) const {
    state.axes = sections.axes();
    state.axis.resize(static_cast<std::size_t>(state.pairs()));
    for (Index i = 0; i < state.pairs(); ++i) state.axis[static_cast<std::size_t>(i)] = axis(i);
  }

  void check(Problems& problems, const RotaryState& state) const {
    problems.require(state.axes == 1, "MRoPE: the pairs have coordinates already, ", state.axes,
                     " of them: keep one of MRoPE and Axial2D.");
    const int axes = sections.axes();
    if (interleaved ? axes != 3 : axes < 2 || axes > Positions::most_axes)
      return problems.add(
          "MRoPE: ", interleaved ? "interleaved sections are 3" : "sections are 2 to 4",
          " numbers of pairs, one per coordinate, got ", axes, " of them.");
    Index sum = 0;
    for (const Index pairs : sections) {
      if (pairs < 0 || pairs > state.pairs())
        return problems.add("MRoPE: a section must lie within [0, ", state.pairs(),
                            "], the rotary pairs, got ", pairs, ".");
      sum += pairs;
    }
    problems.require(sum == state.pairs(), "MRoPE: sections must sum to the ", state.pairs(),
                     " rotary pairs, got ", sum, ".");
    if (interleaved && sum == state.pairs())
      for (const int turn : {1, 2})
        problems.require(3 * (sections[turn] - 1) + turn < sum || sections[turn] == 0,
                         "MRoPE: coordinate ", turn, " takes every third pair, which ",
                         (sum + 2 - turn) / 3, " of ", sum, " are, so it cannot have ",
                         sections[turn], ".");
  }
};

POSENC_NAMESPACE_END
