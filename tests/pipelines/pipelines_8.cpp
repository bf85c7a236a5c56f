// SPDX-License-Identifier: MIT
//
// Pipeline types, part 8 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_8() {
  return {
      pipeline<RoPE<Interleaved>, StaticScheme, LeakyReRoPE, SoftCap, KerpleLog, LogN>(),
      pipeline<RoPE<Interleaved>, LengthScheme, ReRoPE, KerpleLog, SoftCap, SinkLogit, LogN,
               SlidingWindow>(),
      pipeline<ALiBi, SoftCap, LogN, SlidingWindow>(),
      pipeline<RoPE<Interleaved>, StaticScheme, ReRoPE, SoftCap, Documents, SinkLogit>(),
      pipeline<Causal>(),
  };
}

}  // namespace attention_test
