// SPDX-License-Identifier: MIT
//
// Pipeline types, part 1 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_1() {
  return {
      pipeline<RoPE<HalfSplit>, KerpleLog, SinkLogit, RotateValues>(),
      pipeline<RoPE<HalfSplit>, LeakyReRoPE, Sandwich, LogN, SlidingWindow, SinkLogit>(),
      pipeline<RoPE<Interleaved>, ReRoPE, SoftCap, UserBias, SinkLogit, Causal>(),
      pipeline<KerpleLog, Causal, SinkLogit, LogN>(),
      pipeline<RoPE<Interleaved>, LeakyReRoPE, SoftCap, T5Bias, SinkWindow>(),
  };
}

}  // namespace attention_test
