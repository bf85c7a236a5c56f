// SPDX-License-Identifier: MIT
//
// Published schedules of context length. What a publication leaves out, mostly the number of tokens, is an
// argument here.
#pragma once

#include <posenc/schedule/context_schedule.hpp>

POSENC_NAMESPACE_BEGIN

/// Qwen2.5-Turbo (arXiv 2412.15115, section 3.3): four stages from 32,768 tokens by doubling, base 1e7 (1e6
/// before), 40 % of the sequences as long as the stage allows and 60 % shorter.
[[nodiscard]] inline ContextSchedule qwen25_turbo(double tokens_per_stage) {
  ContextSchedule schedule;
  for (Index length = 32'768; length <= 262'144; length *= 2)
    schedule.stages.push_back(
        {.length = length, .base = 1e7, .tokens = tokens_per_stage, .full_share = 0.4});
  return schedule;
}

/// Kimi k1.5 (arXiv 2501.12599, appendix): 4,096 tokens, then 32,768 and 131,072 with base 1e6, in which 40 %
/// of the data is long.
[[nodiscard]] inline ContextSchedule kimi_k15(double first_tokens, double second_tokens,
                                              double third_tokens) {
  return {{{.length = 4'096, .tokens = first_tokens},
           {.length = 32'768, .base = 1e6, .tokens = second_tokens, .full_share = 0.4},
           {.length = 131'072, .base = 1e6, .tokens = third_tokens, .full_share = 0.4}}};
}

/// ProLong on Llama 3 8B (arXiv 2410.02660; princeton-nlp/ProLong, train_64K.sh and train_512K.sh): 20 billion
/// tokens at 65,536 with base 8e6, and as many at 524,288 with base 1.28e8.
[[nodiscard]] inline ContextSchedule prolong() {
  return {{{.length = 65'536, .base = 8e6, .tokens = 20e9},
           {.length = 524'288, .base = 1.28e8, .tokens = 20e9}}};
}

/// SkyLadder (arXiv 2503.15450; sail-sg/SkyLadder, lit_gpt/packed_dataset.py): what a token may see grows by one
/// token at a time, from 32 to the length of the rows, and stays there. Rows are cut by masks, and positions are
/// those of the row. The published rates are one token more for every 1, 2, 4 or 8 steps.
[[nodiscard]] inline ContextSchedule sky_ladder(Index length, double tokens_while_growing,
                                                Index first = 32) {
  Problems problems;
  problems.require(first >= 1 && first <= length,
                   "the first length must lie within [1, length = ", length, "], got ", first, ".");
  problems.raise_if_any("posenc::sky_ladder");
  return {{{.length = length, .tokens = tokens_while_growing, .from = first}, {.length = length}}};
}

POSENC_NAMESPACE_END
