// SPDX-License-Identifier: MIT
//
// Pipeline types, part 6 of 10: see pipelines.hpp.
#include "pipelines.hpp"

namespace attention_test {

std::vector<PipelineType> pipelines_6() {
  return {
      pipeline<RoPE<Interleaved>, LengthScheme, ReRoPE, SinkLogit, UserMask>(),
      pipeline<RoPE<Interleaved>, StaticScheme, ReRoPE, Sandwich, Documents>(),
      pipeline<RoPE<Interleaved>, StaticScheme, KerpleLog, SoftCap, RotateValues, SinkLogit,
               SinkWindow, LogN>(),
      pipeline<RoPE<HalfSplit>, LengthScheme, SoftCap, UserBias, SinkLogit, LogN>(),
      pipeline<RoPE<HalfSplit>, UserRelativeBias, KerplePower, UnitedMask>(),
  };
}

}  // namespace attention_test
