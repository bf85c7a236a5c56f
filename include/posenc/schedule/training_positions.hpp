// SPDX-License-Identifier: MIT
//
// Positions at which short sequences are trained, so that a model has met those of long ones. Each scheme
// draws positions for one sequence of some tokens, rising strictly; queries and keys share them, and so do
// all heads.
//
//   RandomisedPositions{.longest = 2048}    Ruoss et al., arXiv 2305.16843;
//     google-deepmind/randomized_positional_encodings, models/positional_encodings.py. `tokens` different
//     numbers of 0, ..., longest - 1, sorted. One draw for a batch. Evaluation draws as well.
//
//   UniformGaps{.least = 0.1, .most = 2}    Pal et al. (Giraffe), arXiv 2308.10882;
//     abacusai/Long-Context. Real positions: sums of steps from [least, most]; the first step is the first
//     position. Where the last one exceeds `longest` all are multiplied by longest / last, so the mean step
//     is about 1. The paper's least step is a small number, its code's is 0, which lets two tokens meet; it
//     is positive here. One draw for each sequence, in training alone: evaluation is contiguous.
//
//   PoSE{.target = 16384}                   Zhu et al., arXiv 2309.10400; dwzhu-pku/PoSE, src/train_pose.py.
//     The sequence is cut in two after a number of tokens from [1, (tokens + 1) / 2]. The first part keeps
//     its positions and the second is moved by a shift from [0, target - tokens]. Combined with PI, NTK or
//     YaRN of factor target / tokens; evaluation is contiguous, with the same scheme. The reference draws
//     the text of the second part from later in the document too, which is the caller's to do: `cut` and
//     `shift` say where.
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/schedule/random.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct RandomisedPositions {
  Index longest = 2048;  ///< positions that there are

  /// Throws Error where there are more tokens than positions.
  [[nodiscard]] std::vector<Position> draw(Index tokens, SeededRandom& random) const {
    Problems problems;
    problems.require(longest > 0 && longest <= greatest_position,
                     "longest must lie within [1, 2^52], got ", longest, ".");
    problems.require(tokens >= 0, "a sequence cannot have ", tokens, " tokens.");
    problems.require(tokens <= longest, "there are ", longest, " different positions, too few for ",
                     tokens, " tokens.");
    problems.raise_if_any("posenc::RandomisedPositions");
    std::vector<Position> ids;
    ids.reserve(static_cast<std::size_t>(tokens));
    // Floyd's choice: of `tokens` numbers below j + 1, the last is new or stands for one drawn before.
    for (Position j = longest - tokens; j < longest; ++j) {
      const Position drawn = random.integer(0, j);
      const auto at = std::lower_bound(ids.begin(), ids.end(), drawn);
      if (at != ids.end() && *at == drawn)
        ids.push_back(j);  // greater than all so far
      else
        ids.insert(at, drawn);
    }
    return ids;
  }
};

struct UniformGaps {
  double least = 0.1, most = 2;  ///< of a step
  double longest = 0;            ///< the last position is at most this; 0: the number of tokens

  [[nodiscard]] std::vector<double> draw(Index tokens, SeededRandom& random) const {
    Problems problems;
    problems.require(std::isfinite(most) && least > 0 && least < most,
                     "steps need 0 < least < most < infinity, got ", least, " and ", most, ".");
    problems.require(std::isfinite(longest) && longest >= 0,
                     "longest must be finite and not negative (0: the number of tokens), got ",
                     longest, ".");
    problems.require(tokens >= 0, "a sequence cannot have ", tokens, " tokens.");
    problems.raise_if_any("posenc::UniformGaps");
    std::vector<double> ids(static_cast<std::size_t>(tokens));
    double at = 0;
    for (double& id : ids) id = at += random.real(least, most);
    const double limit = longest > 0 ? longest : static_cast<double>(tokens);
    if (at > limit)
      for (double& id : ids) id = std::min(id * (limit / at), limit);
    return ids;
  }
};

struct PoSE {
  Index target = 0;  ///< tokens of the context that is trained for

  struct Drawn {
    std::vector<Position> positions;
    Index cut = 0;       ///< tokens of the first part
    Position shift = 0;  ///< of the second
  };

  [[nodiscard]] Drawn draw(Index tokens, SeededRandom& random) const {
    Problems problems;
    problems.require(target > 0 && target <= greatest_position,
                     "target must lie within [1, 2^52] tokens, got ", target, ".");
    problems.require(tokens >= 0 && tokens <= target, "a sequence has 0 to target = ", target,
                     " tokens, got ", tokens, ".");
    problems.raise_if_any("posenc::PoSE");
    Drawn drawn;
    drawn.positions.resize(static_cast<std::size_t>(tokens));
    if (tokens == 0) return drawn;
    drawn.cut = random.integer(1, (tokens + 1) / 2);
    drawn.shift = random.integer(0, target - tokens);
    for (Index t = 0; t < tokens; ++t)
      drawn.positions[static_cast<std::size_t>(t)] = t < drawn.cut ? t : t + drawn.shift;
    return drawn;
  }
};

POSENC_NAMESPACE_END
