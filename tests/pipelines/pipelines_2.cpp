// SPDX-License-Identifier: MIT
//
// Pipeline types, part 2 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_2() {
  return {
      pipeline<RoPE<Interleaved>, LengthScheme, SoftCap, Sandwich, SinkWindow, LogN>(),
      pipeline<SoftCap, T5Bias, LogN, UserMask>(),
      pipeline<RoPE<HalfSplit>, LeakyReRoPE, SoftCap, T5Bias, LogN, Documents>(),
      pipeline<UserBias, SinkLogit, SinkWindow>(),
      pipeline<KerpleLog, SoftCap, Documents>(),
  };
}

}  // namespace attention_test
