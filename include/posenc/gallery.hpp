// SPDX-License-Identifier: MIT
//
// The gallery: every encoding that the library knows, ready to run.
//
// Examples, benchmarks, documentation and the tests that hold for "every encoding" walk this list,
// so a new encoding joins all of them with one line here.
#pragma once

#include <posenc/posenc.hpp>

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

// --- What stands for trained vectors ------------------------------------------------------------

/// Vectors that fade, [row][head][head_dim]: each has one value in all its channels, which falls to
/// both sides of row `near`.
inline std::vector<float> fading_vectors(Index rows, Index near, Index heads, Index head_dim) {
  std::vector<float> values;
  for (Index r = 0; r < rows; ++r)
    values.insert(values.end(), static_cast<std::size_t>(heads * head_dim),
                  0.25F * (1 - static_cast<float>(std::abs(r - near)) /
                                   static_cast<float>(std::max<Index>(1, rows / 2))));
  return values;
}

/// TransformerXL with the identity for W_R in every head, and a bias of the cosines, whose sum
/// falls with distance.
inline TransformerXL example_transformer_xl(Position distances, Index heads, Index head_dim) {
  TransformerXL xl{.head_dim = head_dim, .clamp_len = distances - 1};
  const Index sines = head_dim / 2, padded = 2 * ((head_dim + 1) / 2);
  const std::vector<float> r = transformer_xl_sinusoids(0, distances, padded);
  for (auto row = r.begin(); row != r.end(); row += padded)
    for (Index h = 0; h < heads; ++h) xl.rows.insert(xl.rows.end(), row, row + head_dim);
  for (Index h = 0; h < heads; ++h)
    for (Index c = 0; c < head_dim; ++c) xl.v.push_back(c < sines ? 0 : 0.5F);
  return xl;
}

/// DeBERTa with vectors that fade for both of its terms.
inline DeBERTa example_deberta(Position max_position, Index heads, Index head_dim) {
  DeBERTa deberta{.position_buckets = 2 * std::min<Index>(128, max_position / 4),
                  .max_position = max_position};
  deberta.keys = deberta.queries =
      fading_vectors(2 * deberta.span(), deberta.span(), heads, head_dim);
  return deberta;
}

/// Calls visit(entry, encoding) for each encoding of the gallery. All are causal.
template <Layout LayoutT, class Visit>
void for_each_in_gallery(const GallerySetting& at, Visit&& visit) {
  const double s = at.factor();
  const Position L = at.trained;
  const Position window = std::max<Position>(1, L / 4);
  const Index H = at.num_heads;
  const auto heads = [H](double from, double to) {  // one value per head, evenly spread
    std::vector<double> values;
    for (Index h = 0; h < H; ++h)
      values.push_back(from + (to - from) * static_cast<double>(h) /
                                  static_cast<double>(std::max<Index>(1, H - 1)));
    return values;
  };
  std::vector<float> buckets;  // a T5 table that falls with distance, as trained ones do
  for (int b = 0; b < 32; ++b)
    for (Index h = 0; h < H; ++h)
      buckets.push_back(-0.1F * static_cast<float>(b) * static_cast<float>(h + 1) /
                        static_cast<float>(H));
  Fire fire{.output_bias = std::vector<float>(static_cast<std::size_t>(H)),
            .threshold = static_cast<double>(window)};  // falls as well, ever faster
  for (int k = 0; k < 8; ++k) {
    fire.hidden_weight.push_back(1);
    fire.hidden_bias.push_back(-0.125F * static_cast<float>(k));
  }
  for (Index h = 0; h < H; ++h)
    fire.output_weight.insert(fire.output_weight.end(), 8,
                              -static_cast<float>(h + 1) / static_cast<float>(H));

  constexpr Position clip = 16;
  const std::vector<float> shaw = fading_vectors(2 * clip + 1, clip, 1, at.head_dim);
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

  visit(GalleryEntry{"ReRoPE", distance, "kexue.fm/archives/9708"}, rope | ReRoPE{.window = window} | causal);
  visit(GalleryEntry{"LeakyReRoPE", distance, "kexue.fm/archives/9708"}, rope | LeakyReRoPE{.window = window, .factor = 16} | causal);
  visit(GalleryEntry{"SelfExtend", distance, "2401.01325"}, rope | SelfExtend{.window = 8 * std::max<Position>(1, L / 32), .group = 8} | causal);
  visit(GalleryEntry{"DualChunk", distance, "2402.17463"}, rope | DualChunk::chunk_llama(std::max<Position>(2, L)) | causal);
  visit(GalleryEntry{"StreamingLLM", distance, "2309.17453"}, rope | StreamingLLM{.sinks = 4, .recent = window});
  visit(GalleryEntry{"LMInfinite", distance, "2308.16137"}, rope | LMInfinite{.window = std::max<Position>(1, L), .sinks = 10});

  visit(GalleryEntry{"ALiBi", bias, "2108.12409"}, ALiBi{} | causal);
  visit(GalleryEntry{"T5Bias", bias, "1910.10683"}, T5Bias{.table = buckets, .bidirectional = false} | causal);
  visit(GalleryEntry{"KerpleLog", bias, "2205.09921"}, KerpleLog{.r1 = heads(0.2, 2), .r2 = heads(0.1, 1)} | causal);
  visit(GalleryEntry{"KerplePower", bias, "2205.09921"}, KerplePower{.r1 = heads(0.02, 0.5), .r2 = heads(0.3, 1)} | causal);
  visit(GalleryEntry{"Sandwich", bias, "2212.10356"}, Sandwich{} | causal);
  visit(GalleryEntry{"Fire", bias, "2310.04418"}, fire | causal);

  visit(GalleryEntry{"ShawKeys", vectors, "1803.02155"}, ShawKeys{.table = shaw, .clip = clip} | causal);
  visit(GalleryEntry{"ShawValues", vectors, "1803.02155"}, ShawValues{.table = shaw, .clip = clip} | causal);
  visit(GalleryEntry{"TransformerXL", vectors, "1901.02860"}, example_transformer_xl(reach, H, at.head_dim) | causal);
  visit(GalleryEntry{"DeBERTa", vectors, "2006.03654"}, example_deberta(reach, H, at.head_dim) | causal);

  visit(GalleryEntry{"SlidingWindow", mask, "Mistral 7B"}, rope | SlidingWindow::from_token_count(window));
  visit(GalleryEntry{"SinkWindow", mask, "2309.17453"}, rope | SinkWindow{.sinks = 4, .window = window});
  visit(GalleryEntry{"ChunkedCausal", mask, "Llama 4"}, rope | ChunkedCausal{.chunk = window});
  visit(GalleryEntry{"PrefixLM", mask, "1910.10683"}, rope | PrefixLM{.prefix = window});
  visit(GalleryEntry{"Documents", mask, "packed training"}, rope | Documents{.starts = {0, window, 2 * window}} | causal);
  visit(GalleryEntry{"ParallelWindows", mask, "2212.10947"}, rope | ParallelWindows{.lengths = {window, window}});

  visit(GalleryEntry{"SoftCap", score, "Gemma 2"}, rope | SoftCap{50} | causal);
  visit(GalleryEntry{"LogN", score, "kexue.fm/archives/8823"}, rope | LogN{.base_length = L, .clipped = true} | causal);
  visit(GalleryEntry{"StepTemperature", score, "Llama 4"}, rope | StepTemperature{.context = L} | causal);
  visit(GalleryEntry{"SinkLogit", score, "gpt-oss"}, rope | SinkLogit{} | causal);
  // clang-format on
}

POSENC_NAMESPACE_END
