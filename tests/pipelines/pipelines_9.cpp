// SPDX-License-Identifier: MIT
//
// Pipeline types, part 9 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_9() {
  return {
      pipeline<RoPE<HalfSplit>, LengthScheme, Causal, RotateValues, LogN>(),
      pipeline<RoPE<Interleaved>, LeakyReRoPE, ALiBi, SinkWindow>(),
      pipeline<RoPE<Interleaved>, StaticScheme, LeakyReRoPE, UserBias, LogN, SinkLogit, PrefixLM>(),
      pipeline<RoPE<HalfSplit>, StaticScheme, ReRoPE, SinkLogit>(),
  };
}

}  // namespace attention_test
