// SPDX-License-Identifier: MIT
//
// Pipeline types, part 3 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_3() {
  return {
      pipeline<RoPE<Interleaved>, StaticScheme, LeakyReRoPE, T5Bias, SoftCap, SinkLogit, Causal>(),
      pipeline<RoPE<HalfSplit>, StaticScheme, ReRoPE, SoftCap, SinkLogit, SinkWindow>(),
      pipeline<RoPE<Interleaved>, StaticScheme, SoftCap, ALiBi, LogN, UserMask>(),
      pipeline<RoPE<HalfSplit>, LengthScheme, LeakyReRoPE, SoftCap, T5Bias, SlidingWindow>(),
      pipeline<RoPE<Interleaved>, StaticScheme, ALiBi, RotateValues, Causal, SinkLogit>(),
  };
}

}  // namespace attention_test
