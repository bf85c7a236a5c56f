// SPDX-License-Identifier: MIT
//
// What attention needs of the library's own components, which posenc::kernels (core/abi.hpp) compiles
// once for a program. A component that is not listed here, such as one of a user's, is compiled where
// it is used.
#pragma once

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/fire.hpp>
#include <posenc/bias/forget_gate.hpp>
#include <posenc/bias/kerple.hpp>
#include <posenc/bias/sandwich.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/bind/any.hpp>
#include <posenc/distance/dual_chunk.hpp>
#include <posenc/distance/focused_transformer.hpp>
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/lm_infinite.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/distance/self_extend.hpp>
#include <posenc/distance/streaming_llm.hpp>
#include <posenc/distance/string.hpp>
#include <posenc/frequency/abf.hpp>
#include <posenc/frequency/dynamic.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/frequency_table.hpp>
#include <posenc/frequency/llama3.hpp>
#include <posenc/frequency/long_rope.hpp>
#include <posenc/frequency/ms_poe.hpp>
#include <posenc/frequency/ntk.hpp>
#include <posenc/frequency/ntk_by_parts.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/power_scaling.hpp>
#include <posenc/frequency/proportional.hpp>
#include <posenc/frequency/rescale_factors.hpp>
#include <posenc/frequency/resonance.hpp>
#include <posenc/frequency/truncated_basis.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/a_shape.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/chosen_blocks.hpp>
#include <posenc/mask/chunked_causal.hpp>
#include <posenc/mask/documents.hpp>
#include <posenc/mask/duo_attention.hpp>
#include <posenc/mask/parallel_windows.hpp>
#include <posenc/mask/prefix_lm.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/mask/vertical_slash.hpp>
#include <posenc/relative/deberta.hpp>
#include <posenc/relative/shaw.hpp>
#include <posenc/relative/transformer_xl.hpp>
#include <posenc/rotary/axial_2d.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/rotary/xpos.hpp>
#include <posenc/score/log_n.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>
#include <posenc/score/step_temperature.hpp>

POSENC_NAMESPACE_BEGIN

#if defined(POSENC_DETAIL_COMPONENTS)
namespace detail {
#define POSENC_DETAIL_COMPONENT(...)                                                               \
  POSENC_DETAIL_COMPONENTS AnyComponent any_component<__VA_ARGS__>(const SharedAny&);              \
  POSENC_DETAIL_COMPONENTS const ScoreLoops<float>& score_loops<prepared_t<__VA_ARGS__>, float>(   \
      std::size_t) noexcept;                                                                       \
  POSENC_DETAIL_COMPONENTS const ScoreLoops<double>& score_loops<prepared_t<__VA_ARGS__>, double>( \
      std::size_t) noexcept;                                                                       \
  POSENC_DETAIL_COMPONENTS Derivative<float> derivative<prepared_t<__VA_ARGS__>, float>(           \
      std::size_t) noexcept;                                                                       \
  POSENC_DETAIL_COMPONENTS Derivative<double> derivative<prepared_t<__VA_ARGS__>, double>(         \
      std::size_t) noexcept;
POSENC_DETAIL_COMPONENT(ALiBi)
POSENC_DETAIL_COMPONENT(Fire)
POSENC_DETAIL_COMPONENT(ForgetGate)
POSENC_DETAIL_COMPONENT(KerpleLog)
POSENC_DETAIL_COMPONENT(KerplePower)
POSENC_DETAIL_COMPONENT(Sandwich)
POSENC_DETAIL_COMPONENT(T5Bias)
POSENC_DETAIL_COMPONENT(DualChunk)
POSENC_DETAIL_COMPONENT(FocusedTransformer)
POSENC_DETAIL_COMPONENT(LeakyReRoPE)
POSENC_DETAIL_COMPONENT(LMInfinite)
POSENC_DETAIL_COMPONENT(ReRoPE)
POSENC_DETAIL_COMPONENT(SelfExtend)
POSENC_DETAIL_COMPONENT(STRING)
POSENC_DETAIL_COMPONENT(StreamingLLM)
POSENC_DETAIL_COMPONENT(ABF)
POSENC_DETAIL_COMPONENT(Dynamic<YaRN>)
POSENC_DETAIL_COMPONENT(DynamicNTK)
POSENC_DETAIL_COMPONENT(FrequencyTable)
POSENC_DETAIL_COMPONENT(Llama3)
POSENC_DETAIL_COMPONENT(LongRoPE)
POSENC_DETAIL_COMPONENT(LongRoPELong)
POSENC_DETAIL_COMPONENT(LongRoPEShort)
POSENC_DETAIL_COMPONENT(MsPoE)
POSENC_DETAIL_COMPONENT(NTK)
POSENC_DETAIL_COMPONENT(NTKByParts)
POSENC_DETAIL_COMPONENT(PI)
POSENC_DETAIL_COMPONENT(PowerScaling)
POSENC_DETAIL_COMPONENT(Proportional)
POSENC_DETAIL_COMPONENT(RescaleFactors)
POSENC_DETAIL_COMPONENT(Resonance)
POSENC_DETAIL_COMPONENT(TruncatedBasis)
POSENC_DETAIL_COMPONENT(YaRN)
POSENC_DETAIL_COMPONENT(AShape)
POSENC_DETAIL_COMPONENT(Causal)
POSENC_DETAIL_COMPONENT(ChosenBlocks)
POSENC_DETAIL_COMPONENT(ChunkedCausal)
POSENC_DETAIL_COMPONENT(Documents)
// Of DuoAttention bind() makes what it makes of AShape.
POSENC_DETAIL_COMPONENTS AnyComponent any_component<DuoAttention>(const SharedAny&);
POSENC_DETAIL_COMPONENT(ParallelWindows)
POSENC_DETAIL_COMPONENT(PrefixLM)
POSENC_DETAIL_COMPONENT(SinkWindow)
POSENC_DETAIL_COMPONENT(SlidingWindow)
POSENC_DETAIL_COMPONENT(VerticalSlash)
POSENC_DETAIL_COMPONENT(DeBERTa)
POSENC_DETAIL_COMPONENT(ShawKeys)
POSENC_DETAIL_COMPONENT(ShawValues)
POSENC_DETAIL_COMPONENT(TransformerXL)
POSENC_DETAIL_COMPONENT(RoPE<HalfSplit>)
POSENC_DETAIL_COMPONENT(RoPE<Interleaved>)
POSENC_DETAIL_COMPONENT(RotateValues)
POSENC_DETAIL_COMPONENT(XPos)
POSENC_DETAIL_COMPONENT(LogN)
POSENC_DETAIL_COMPONENT(SinkLogit)
POSENC_DETAIL_COMPONENT(SoftCap)
POSENC_DETAIL_COMPONENT(StepTemperature)
#undef POSENC_DETAIL_COMPONENT
}  // namespace detail
#endif

POSENC_NAMESPACE_END
