// SPDX-License-Identifier: MIT
#include "stacks.hpp"

namespace decode_test {

using namespace attention_test;

TEST_CASE("decode: random stacks, distance maps") {
  check_stacks<RoPE<HalfSplit>, LeakyReRoPE, Sandwich, LogN, SlidingWindow, SinkLogit>(1);
  check_stacks<RoPE<Interleaved>, ReRoPE, SoftCap, UserBias, SinkLogit, Causal>(2);
  check_stacks<RoPE<HalfSplit>, LengthScheme, ReRoPE, SoftCap, T5Bias>(3);
  check_stacks<RoPE<Interleaved>, StaticScheme, LeakyReRoPE, KerpleLog, UserMask>(4);
  check_stacks<RoPE<Interleaved>, LengthScheme, LeakyReRoPE, ALiBi, SinkWindow>(5);
}

}  // namespace decode_test
