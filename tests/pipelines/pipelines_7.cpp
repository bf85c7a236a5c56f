// SPDX-License-Identifier: MIT
//
// Pipeline types, part 7 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_7() {
  return {
      pipeline<UserBias, LogN, SinkLogit, Documents>(),
      pipeline<Sandwich, SoftCap>(),
      pipeline<KerpleLog, SoftCap, PrefixLM>(),
      pipeline<RoPE<Interleaved>, LengthScheme, SoftCap, Sandwich, SinkLogit, Causal, LogN,
               RotateValues>(),
      pipeline<RoPE<Interleaved>, StaticScheme, ALiBi, UserMap, UserBias, SoftCap, Causal,
               SinkWindow, SinkLogit>(),
  };
}

}  // namespace attention_test
