// SPDX-License-Identifier: MIT
//
// Pipeline types, part 4 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_4() {
  return {
      pipeline<RoPE<HalfSplit>, ReRoPE, ALiBi, SoftCap, PrefixLM, LogN>(),
      pipeline<RoPE<Interleaved>, LengthScheme, T5Bias, PrefixLM, SinkLogit, RotateValues, LogN>(),
      pipeline<RoPE<HalfSplit>, LengthScheme, ReRoPE, SoftCap, T5Bias>(),
      pipeline<RoPE<HalfSplit>, StaticScheme, Sandwich, SoftCap, LogN, PrefixLM, RotateValues>(),
      pipeline<RoPE<HalfSplit>>(),
  };
}

}  // namespace attention_test
