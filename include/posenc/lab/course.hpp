// SPDX-License-Identifier: MIT
//
// Course: what each step of a training is of, where its steps are not all alike.
//
//   Training(shape, rope, {.steps = 400}, course_of(schedule, rope_encoding, 2048))
//
// course_of() makes one of a ContextSchedule, whose stages have lengths, bases and schemes of their own.
#pragma once

#include <posenc/lab/scheme.hpp>
#include <posenc/mask/chunked_causal.hpp>
#include <posenc/schedule/context_schedule.hpp>

#include <cmath>
#include <functional>
#include <string>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// So many sequences of a length, and the scheme that reads them.
struct Lesson {
  Index length = 0, sequences = 0;
  Scheme scheme;
};
/// The lesson of a step, by how many steps were done before it.
using Course = std::function<Lesson(Index step)>;

/// Is number `n` of equal things, from 0 on, one of those that make up a share of them? They lie evenly.
[[nodiscard]] inline bool belongs_to_share(Index n, double share) {
  const auto so_far = [&](Index count) {
    return std::floor(static_cast<double>(count) * share * (1 + 1e-12));
  };
  return so_far(n + 1) > so_far(n);
}

/// A schedule's stages in steps of `tokens` tokens each. A step belongs to the stage of its first token.
///
/// Where a stage has shorter sequences too (full_share f < 1) they are half as long, and a step has sequences of one
/// length: the full one in a share 2 f / (1 + f) of the steps, so that f of the sequences have it.
/// Where the length of a stage grows, its rows have the length that it ends with, and a query sees the keys of
/// its own chunk of the row, as long as `at(token).length` says; positions are the row's (SkyLadder, arXiv 2503.15450).
///
/// Throws Error where the schedule is wrong, or where a step is no whole number of sequences.
[[nodiscard]] inline Course course_of(const ContextSchedule& schedule, const AnyEncoding& model,
                                      Index tokens) {
  schedule.check();
  Problems problems;
  std::vector<Index> first_steps;  // of each stage
  double before = 0;
  for (std::size_t i = 0; i < schedule.stages.size(); ++i) {
    const ContextStage& stage = schedule.stages[i];
    problems.require(tokens >= stage.length && tokens % stage.length == 0, "stage ", i,
                     ": a step of ", tokens, " tokens is no whole number of sequences of ",
                     stage.length, ".");
    problems.require(stage.full_share == 1 || stage.length % 2 == 0, "stage ", i,
                     ": sequences half as long as ", stage.length, " need an even length.");
    first_steps.push_back(static_cast<Index>(std::ceil(before / static_cast<double>(tokens))));
    before += stage.tokens;
  }
  problems.raise_if_any("posenc::lab::course_of");
  return [=](Index step) {
    const ContextNow now = schedule.at(static_cast<double>(step) * static_cast<double>(tokens));
    const ContextStage& stage = schedule.stages[now.stage];
    AnyEncoding encoding = ContextSchedule::of_stage(model, stage);
    if (now.length < stage.length) encoding |= ChunkedCausal{.chunk = now.length};
    const double of_steps = 2 * stage.full_share / (1 + stage.full_share);
    const bool full = belongs_to_share(step - first_steps[now.stage], of_steps);
    const Index length = full ? stage.length : stage.length / 2;
    return Lesson{length, tokens / length, Scheme("stage " + std::to_string(now.stage), encoding)};
  };
}

}  // namespace lab

POSENC_NAMESPACE_END
