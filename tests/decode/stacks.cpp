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

TEST_CASE("decode: random stacks, true distances") {
  check_stacks<RoPE<Interleaved>, LengthScheme, T5Bias, PrefixLM, SinkLogit, RotateValues, LogN>(6);
  check_stacks<RoPE<HalfSplit>, StaticScheme, SoftCap, UserBias, RotateValues, SlidingWindow>(7);
  check_stacks<RoPE<Interleaved>, StaticScheme, ALiBi, UserMap, UserBias, SoftCap, Causal,
               SinkWindow, SinkLogit>(8);
  check_stacks<RoPE<HalfSplit>, UserRelativeBias, KerplePower, UnitedMask>(9);
  check_stacks<UserBias, LogN, SinkLogit, Documents>(10);
  check_stacks<KerpleLog, SoftCap, UserMask>(11);
  check_stacks<RoPE<HalfSplit>, StaticScheme>(12);
}

}  // namespace decode_test
