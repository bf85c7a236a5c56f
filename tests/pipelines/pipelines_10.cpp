// SPDX-License-Identifier: MIT
//
// Pipeline types, part 10 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_10() {
  return {
      pipeline<RoPE<Interleaved>, LengthScheme, ALiBi, SoftCap, RotateValues, SinkLogit,
               Documents>(),
      pipeline<RoPE<HalfSplit>, LeakyReRoPE, SoftCap, PrefixLM>(),
      pipeline<LogN, SinkLogit, SlidingWindow>(),
      pipeline<RoPE<Interleaved>, StaticScheme, ALiBi, SinkLogit>(),
  };
}

}  // namespace attention_test
