// SPDX-License-Identifier: MIT
//
// The gallery: every encoding that the library knows, ready to run.
//
// Examples, benchmarks, documentation and the tests that hold for "every encoding" walk this list,
// so a new encoding joins all of them with one line here.
#pragma once

#include <posenc/gallery/example_weights.hpp>
#include <posenc/posenc.hpp>

#include <algorithm>
#include <string_view>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// What an encoding of the gallery is made for.
struct GallerySetting {
  Index head_dim = 128;  ///< of queries, keys and values
  Index num_heads = 8;
  double base = 10000;      ///< rope_theta
  Position trained = 4096;  ///< length seen in training
  Position target = 16384;  ///< length to reach, at least `trained`

  [[nodiscard]] double factor() const {
    return static_cast<double>(target) / static_cast<double>(trained);
  }
};

/// Where the idea of an encoding lies.
enum class Family { base, frequency, distance, bias, vectors, mask, score };

struct GalleryEntry {
  std::string_view name;
  Family family;
  std::string_view source;  ///< paper (arXiv number or address)
};

/// Calls visit(entry, encoding) for each encoding of the gallery. All are causal.
template <Layout LayoutT, class Visit>
void for_each_in_gallery(const GallerySetting& at, Visit&& visit) {
  const double s = at.factor();
  const Position L = at.trained;
  const Position window = std::max<Position>(1, L / 4);
  const Index H = at.num_heads;
  constexpr Position clip = 16;
  const std::vector<float> shaw = gallery::fading_vectors(2 * clip + 1, clip, 1, at.head_dim);
  const Position reach = std::clamp<Position>(L, 8, 512);  // of vectors by distance

  const RoPE<LayoutT> rope{.head_dim = at.head_dim, .base = at.base};
  const std::vector<double> ones(static_cast<std::size_t>(at.head_dim / 2), 1.0);
  const std::vector<double> all_s(static_cast<std::size_t>(at.head_dim / 2), s);
  const Index third = at.head_dim / 6;
  const MRoPE::Sections sections{at.head_dim / 2 - 2 * third, third, third};
  // far enough for XPos to reach the target
  const double scale_base = std::max(512.0, static_cast<double>(at.target) / 32);
  constexpr Causal causal{};
  using enum Family;
  using gallery::spread;

  // One line each: a list reads best as a list.
  // clang-format off
  visit(GalleryEntry{"NoPE", base, "2305.19466"}, encoding(causal));
  visit(GalleryEntry{"RoPE", base, "2104.09864"}, rope | causal);
  visit(GalleryEntry{"Partial RoPE", base, "GPT-J, GPT-NeoX"}, RoPE<LayoutT>::partial(at.head_dim, 0.5, at.base) | causal);
  visit(GalleryEntry{"RotateValues", base, "kexue.fm/archives/10862"}, rope | RotateValues{} | causal);
  visit(GalleryEntry{"MRoPE", base, "2409.12191"}, rope | MRoPE{.sections = sections, .interleaved = true} | causal);
  visit(GalleryEntry{"Axial2D", base, "2403.13298"}, rope | Axial2D{} | causal);
  visit(GalleryEntry{"XPos", base, "2212.10554"}, rope | XPos{.scale_base = scale_base, .centre = at.target / 2} | causal);

  visit(GalleryEntry{"ABF", frequency, "2309.16039"}, rope | ABF{.beta = 50} | causal);
  visit(GalleryEntry{"PI", frequency, "2306.15595"}, rope | PI{.factor = s} | causal);
  visit(GalleryEntry{"NTK", frequency, "bloc97, 2023"}, rope | NTK{.alpha = s} | causal);
  visit(GalleryEntry{"DynamicNTK", frequency, "2309.00071"}, rope | DynamicNTK{.original_context = L, .form = DynamicNTKForm::paper} | causal);
  visit(GalleryEntry{"NTKByParts", frequency, "2309.00071"}, rope | NTKByParts{.factor = s, .original_context = L} | causal);
  visit(GalleryEntry{"YaRN", frequency, "2309.00071"}, rope | YaRN{.factor = s, .original_context = L} | causal);
  visit(GalleryEntry{"Dynamic YaRN", frequency, "2309.00071"}, rope | Dynamic<YaRN>{{.original_context = L}} | causal);
  visit(GalleryEntry{"Llama3", frequency, "Llama 3.1"}, rope | Llama3{.factor = s, .original_context = L} | causal);
  visit(GalleryEntry{"LongRoPE", frequency, "2402.13753"}, rope | LongRoPE{.short_factor = ones, .long_factor = all_s, .factor = s, .original_context = L} | causal);
  visit(GalleryEntry{"TruncatedBasis", frequency, "2308.10882"}, rope | TruncatedBasis{.wavelength = static_cast<double>(L)} | causal);
  visit(GalleryEntry{"PowerScaling", frequency, "2308.10882"}, rope | PowerScaling{.exponent = 0.1} | causal);
  visit(GalleryEntry{"Proportional", frequency, "2410.06205"}, rope | Proportional{.fraction = 0.25} | causal);
  visit(GalleryEntry{"ResonanceYaRN", frequency, "2403.00071"}, rope | YaRN{.factor = s, .original_context = L} | Resonance{} | causal);
  visit(GalleryEntry{"MsPoE", frequency, "2403.04797"}, rope | MsPoE{} | causal);

  visit(GalleryEntry{"ReRoPE", distance, "kexue.fm/archives/9708"}, rope | ReRoPE{.window = window} | causal);
  visit(GalleryEntry{"LeakyReRoPE", distance, "kexue.fm/archives/9708"}, rope | LeakyReRoPE{.window = window, .factor = 16} | causal);
  visit(GalleryEntry{"SelfExtend", distance, "2401.01325"}, rope | SelfExtend{.window = 8 * std::max<Position>(1, L / 32), .group = 8} | causal);
  visit(GalleryEntry{"DualChunk", distance, "2402.17463"}, rope | DualChunk::chunk_llama(std::max<Position>(2, L)) | causal);
  visit(GalleryEntry{"STRING", distance, "2410.18745"}, rope | STRING::of_length(std::max<Position>(4, L)) | causal);
  visit(GalleryEntry{"StreamingLLM", distance, "2309.17453"}, rope | StreamingLLM{.sinks = 4, .recent = window});
  visit(GalleryEntry{"LMInfinite", distance, "2308.16137"}, rope | LMInfinite{.window = std::max<Position>(1, L), .sinks = 10});
  visit(GalleryEntry{"FocusedTransformer", distance, "2307.03170"}, rope | FocusedTransformer{.window = std::max<Position>(1, L)} | causal);

  visit(GalleryEntry{"ALiBi", bias, "2108.12409"}, ALiBi{} | causal);
  visit(GalleryEntry{"T5Bias", bias, "1910.10683"}, gallery::example_t5_bias(H) | causal);
  visit(GalleryEntry{"KerpleLog", bias, "2205.09921"}, KerpleLog{.r1 = spread(H, 0.2, 2), .r2 = spread(H, 0.1, 1)} | causal);
  visit(GalleryEntry{"KerplePower", bias, "2205.09921"}, KerplePower{.r1 = spread(H, 0.02, 0.5), .r2 = spread(H, 0.3, 1)} | causal);
  visit(GalleryEntry{"Sandwich", bias, "2212.10356"}, Sandwich{} | causal);
  visit(GalleryEntry{"Fire", bias, "2310.04418"}, gallery::example_fire(H, static_cast<double>(window)) | causal);
  visit(GalleryEntry{"ForgetGate", bias, "2503.02130"}, rope | gallery::example_forget_gate(H, at.target + 4096) | causal);

  visit(GalleryEntry{"ShawKeys", vectors, "1803.02155"}, ShawKeys{.table = shaw, .clip = clip} | causal);
  visit(GalleryEntry{"ShawValues", vectors, "1803.02155"}, ShawValues{.table = shaw, .clip = clip} | causal);
  visit(GalleryEntry{"TransformerXL", vectors, "1901.02860"}, gallery::example_transformer_xl(reach, H, at.head_dim) | causal);
  visit(GalleryEntry{"DeBERTa", vectors, "2006.03654"}, gallery::example_deberta(reach, H, at.head_dim) | causal);

  visit(GalleryEntry{"SlidingWindow", mask, "Mistral 7B"}, rope | SlidingWindow::from_token_count(window));
  visit(GalleryEntry{"SinkWindow", mask, "2309.17453"}, rope | SinkWindow{.sinks = 4, .window = window});
  visit(GalleryEntry{"ChunkedCausal", mask, "Llama 4"}, rope | ChunkedCausal{.chunk = window});
  visit(GalleryEntry{"PrefixLM", mask, "1910.10683"}, rope | PrefixLM{.prefix = window});
  visit(GalleryEntry{"Documents", mask, "packed training"}, rope | Documents{.starts = {0, window, 2 * window}} | causal);
  visit(GalleryEntry{"ParallelWindows", mask, "2212.10947"}, rope | ParallelWindows{.lengths = {window, window}});
  visit(GalleryEntry{"AShape", mask, "2407.02490"}, rope | gallery::example_a_shape(H, window));
  visit(GalleryEntry{"DuoAttention", mask, "2410.10819"}, rope | gallery::example_duo_attention(H, window));
  visit(GalleryEntry{"VerticalSlash", mask, "2407.02490"}, rope | gallery::example_vertical_slash(H, window, at.target));
  visit(GalleryEntry{"ChosenBlocks", mask, "2502.13189"}, rope | causal | gallery::example_chosen_blocks(H, window, at.target));

  visit(GalleryEntry{"SoftCap", score, "Gemma 2"}, rope | SoftCap{50} | causal);
  visit(GalleryEntry{"LogN", score, "kexue.fm/archives/8823"}, rope | LogN{.base_length = L, .clipped = true} | causal);
  visit(GalleryEntry{"StepTemperature", score, "Llama 4"}, rope | StepTemperature{.context = L} | causal);
  visit(GalleryEntry{"SinkLogit", score, "gpt-oss"}, rope | SinkLogit{} | causal);
  // clang-format on
}

POSENC_NAMESPACE_END
