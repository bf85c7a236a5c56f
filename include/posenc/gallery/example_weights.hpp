// SPDX-License-Identifier: MIT
//
// Example weights: what stands for trained weights in the gallery, where an encoding has any.
//
// Nothing here was trained. Values fall with distance, as trained ones mostly do, so that pictures
// and tests show what an encoding does with them.
#pragma once

#include <posenc/bias/fire.hpp>
#include <posenc/bias/forget_gate.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/core/types.hpp>
#include <posenc/mask/a_shape.hpp>
#include <posenc/mask/chosen_blocks.hpp>
#include <posenc/mask/duo_attention.hpp>
#include <posenc/mask/vertical_slash.hpp>
#include <posenc/relative/deberta.hpp>
#include <posenc/relative/transformer_xl.hpp>

#include <algorithm>
#include <cstdlib>
#include <vector>

POSENC_NAMESPACE_BEGIN
namespace gallery {

/// One value per head, evenly spread between two.
inline std::vector<double> spread(Index heads, double from, double to) {
  std::vector<double> values;
  for (Index h = 0; h < heads; ++h)
    values.push_back(from + (to - from) * static_cast<double>(h) /
                                static_cast<double>(std::max<Index>(1, heads - 1)));
  return values;
}

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

/// T5Bias of a decoder whose biases fall from bucket to bucket, more steeply from head to head.
inline T5Bias example_t5_bias(Index heads) {
  T5Bias bias{.bidirectional = false};
  for (Index bucket = 0; bucket < bias.num_buckets; ++bucket)
    for (Index h = 0; h < heads; ++h)
      bias.table.push_back(-0.1F * static_cast<float>(bucket) * static_cast<float>(h + 1) /
                           static_cast<float>(heads));
  return bias;
}

/// Fire whose biases fall ever faster with distance, more steeply from head to head.
inline Fire example_fire(Index heads, double threshold) {
  constexpr int width = 8;
  Fire fire{.output_bias = std::vector<float>(static_cast<std::size_t>(heads)),
            .threshold = threshold};
  for (int k = 0; k < width; ++k) {
    fire.hidden_weight.push_back(1);
    fire.hidden_bias.push_back(-0.125F * static_cast<float>(k));
  }
  for (Index h = 0; h < heads; ++h)
    fire.output_weight.insert(fire.output_weight.end(), width,
                              -static_cast<float>(h + 1) / static_cast<float>(heads));
  return fire;
}

/// ForgetGate of a text in which each seventh token makes a head forget, more and more from head to head.
inline ForgetGate example_forget_gate(Index heads, Position tokens) {
  GateSums sums(heads, tokens);
  const std::vector<double> strength = spread(heads, 0.002, 0.1);
  std::vector<double> gates;
  for (Position t = 0; t < tokens; ++t)
    for (const double s : strength) gates.push_back(t % 7 == 0 ? -4 * s : -s / 2);
  sums.append(0, std::span<const double>(gates));
  return {.sums = sums};
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

/// AShape whose windows grow from head to head.
inline AShape example_a_shape(Index heads, Position window) {
  AShape shape{.heads = {}};
  for (Index h = 0; h < heads; ++h)
    shape.heads.push_back(
        {.sinks = 4 + h, .window = std::max<Position>(1, window * (h + 1) / heads)});
  return shape;
}

/// DuoAttention that has every second query head stream.
inline DuoAttention example_duo_attention(Index heads, Position recent) {
  DuoAttention duo{.full = {}, .sinks = 4, .recent = recent};
  for (Index h = 0; h < heads; ++h) duo.full.push_back(h % 2 == 0);
  return duo;
}

/// VerticalSlash of the nearest tokens, every eighth distance up to the window, and a key of 97.
inline VerticalSlash example_vertical_slash(Index heads, Position window, Position tokens) {
  VerticalSlash pattern;
  for (Index h = 0; h < heads; ++h) {
    VerticalSlash::Head head = VerticalSlash::Head::a_shape(4, 16);
    for (Position d = 16 + h; d < window; d += 8) head.slashes.push_back(d);
    for (Position m = 50 + h; m < tokens; m += 97) head.columns.push_back(m);
    pattern.heads.push_back(std::move(head));
  }
  return pattern;
}

/// ChosenBlocks of 64 queries and keys: the first block, the own one, and some before it, others for each head.
inline ChosenBlocks example_chosen_blocks(Index heads, Position window, Position tokens) {
  const Index block = std::clamp<Index>(window / 16, 1, 64), blocks = tokens / block + 1;
  BlockSets sets({.queries = blocks * block,
                  .query_block = block,
                  .block = block,
                  .blocks = blocks,
                  .choices = heads});
  for (Index h = 0; h < heads; ++h)
    for (Index g = 0; g < blocks; ++g) {
      sets.add(h, g, 0, 1);
      sets.add(h, g, g, g + 1);
      for (Index b = (g + h) % 5; b < g; b += 5) sets.add(h, g, b, b + 1);
    }
  return ChosenBlocks(std::move(sets));
}

}  // namespace gallery
POSENC_NAMESPACE_END
