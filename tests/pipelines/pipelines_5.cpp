// SPDX-License-Identifier: MIT
//
// Pipeline types, part 5 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_5() {
  return {
      pipeline<RoPE<HalfSplit>, StaticScheme, SoftCap, UserBias, RotateValues, SlidingWindow>(),
      pipeline<RoPE<HalfSplit>, LengthScheme, LeakyReRoPE, UserBias, SoftCap, UserMask>(),
      pipeline<RoPE<HalfSplit>, StaticScheme, SoftCap, Sandwich, UserMask, SinkLogit,
               RotateValues>(),
      pipeline<RoPE<HalfSplit>, LengthScheme, LeakyReRoPE, SoftCap, KerpleLog, SinkLogit,
               UserMask>(),
      pipeline<RoPE<Interleaved>, RotateValues>(),
  };
}

}  // namespace attention_test
