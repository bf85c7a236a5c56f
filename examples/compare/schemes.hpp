// SPDX-License-Identifier: MIT
//
// Every scheme of posenc's gallery, put in the place of the one that the model has.
//
// The gallery knows a setting: width, base, lengths. What it cannot know of this model is filled in
// here, component by component: the block of channels that rotates, lists of LongRoPE, slopes of
// sampled heads, vectors that the sample's queries and keys respond to.
#pragma once

#include "rotation.hpp"
#include "scores.hpp"

#include <posenc/bind/any.hpp>
#include <posenc/gallery.hpp>

#include <functional>
#include <memory>

namespace compare {

using posenc::Family;

/// A curve of a bias: [head of the sample][bin of distances].
using BiasCurves = std::vector<std::vector<double>>;

/// One scheme, measured.
struct Row {
  std::string name;
  std::string source;
  Family family = Family::base;
  bool configured = false;  ///< the model's own
  std::string note{};
  RotationReport rotation{};
  ScoreStatistics scores{};
  BiasCurves biases{};
  std::function<void()> attend{};  ///< one call of attention over the sample
  double relative_time = 0;        ///< median, plain RoPE is 1
};

// --- What the gallery cannot know ---------------------------------------------------------------

template <class C>
C adapt(C component, const Setting&, std::string&) {
  return component;
}

template <class L>
posenc::RoPE<L> adapt(posenc::RoPE<L> rope, const Setting& at, std::string&) {
  // The gallery is asked for heads as wide as the rotary block.
  rope.rotary_dim = rope.rotated_channels();
  rope.head_dim = at.layer.rotary->head_dim;
  rope.rotary_offset = at.layer.rotary->rotary_offset;
  return rope;
}

inline posenc::LeakyReRoPE adapt(posenc::LeakyReRoPE map, const Setting& at, std::string& note) {
  note = "factor chosen so that the last distance is the last of training";
  return posenc::LeakyReRoPE::to_length(map.window, at.trained, std::max(at.trained, at.target));
}

inline posenc::LongRoPE adapt(posenc::LongRoPE scheme, const Setting& at, std::string& note) {
  namespace config = posenc::config;
  if (const auto* by_length = std::get_if<config::LengthScheme>(&at.layer.rotary->scheme))
    if (const auto* own = std::get_if<posenc::LongRoPE>(&by_length->rule)) {
      note = "lists of the file";
      return *own;
    }
  note = "the file has no lists; factor^(2i/(d-2)), the shape of NTK, stands for them";
  const double last = std::max(1.0, static_cast<double>(scheme.long_factor.size()) - 1);
  for (std::size_t i = 0; i < scheme.long_factor.size(); ++i)
    scheme.long_factor[i] = std::pow(scheme.factor, static_cast<double>(i) / last);
  return scheme;
}

inline constexpr const char* learned =
    "learned in training; drawn with the example values of the gallery";

inline posenc::T5Bias adapt(posenc::T5Bias bias, const Setting&, std::string& note) {
  note = learned;
  return bias;
}
inline posenc::KerpleLog adapt(posenc::KerpleLog bias, const Setting&, std::string& note) {
  note = learned;
  return bias;
}
inline posenc::KerplePower adapt(posenc::KerplePower bias, const Setting&, std::string& note) {
  note = learned;
  return bias;
}

inline posenc::ALiBi adapt(posenc::ALiBi bias, const Setting& at, std::string&) {
  const Index heads = std::max(at.layer.num_heads, at.num_heads);
  const auto all = bias.slopes.empty() ? posenc::alibi_slopes(heads, bias.max_bias) : bias.slopes;
  bias.slopes.clear();
  for (Index h = 0; h < at.num_heads; ++h)
    bias.slopes.push_back(all[static_cast<std::size_t>(at.model_head(h))]);
  return bias;
}

// --- Vectors by distance: heads are wider than the rotary block that the gallery is asked for ---

inline constexpr const char* learned_vectors =
    "learned in training; drawn with vectors that fade with distance";

/// The same vectors along what queries and keys have in common, [row][head][width]: each of the
/// gallery's has one value in all channels. With one head the table is for all of them.
inline std::vector<float> along_content(const std::vector<float>& table, Index rows, Index heads,
                                        const Setting& at, const Sample& sample) {
  const std::size_t each = table.size() / static_cast<std::size_t>(rows);
  const Index width = at.layer.head_dim, shared = heads == 1 ? at.num_kv_heads : 1;
  std::vector<float> vectors;
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < width; ++c) {
        float sum = 0;
        for (Index s = 0; s < shared; ++s)
          sum += sample.content(h * at.num_kv_heads / heads + s)[static_cast<std::size_t>(c)];
        vectors.push_back(table[row * each] * sum);
      }
  return vectors;
}

inline posenc::ShawKeys adapt(posenc::ShawKeys shaw, const Setting& at, const Sample& sample,
                              std::string& note) {
  note = learned_vectors;
  shaw.table = along_content(shaw.table, static_cast<Index>(2 * shaw.clip + 1), 1, at, sample);
  return shaw;
}
inline posenc::ShawValues adapt(posenc::ShawValues shaw, const Setting& at, const Sample& sample,
                                std::string& note) {
  note = "no part in the scores";
  shaw.table = along_content(shaw.table, static_cast<Index>(2 * shaw.clip + 1), 1, at, sample);
  return shaw;
}
inline posenc::DeBERTa adapt(posenc::DeBERTa deberta, const Setting& at, const Sample& sample,
                             std::string& note) {
  note = learned_vectors;
  for (std::vector<float>* table : {&deberta.keys, &deberta.queries})
    *table = along_content(*table, 2 * deberta.span(), at.num_heads, at, sample);
  return deberta;
}
inline posenc::TransformerXL adapt(posenc::TransformerXL xl, const Setting& at, const Sample&,
                                   std::string& note) {
  note = "learned in training; drawn with the identity for W_R and a bias of the cosines";
  return posenc::gallery::example_transformer_xl(*xl.clamp_len + 1, at.num_heads,
                                                 at.layer.head_dim);
}

template <class C>
auto adapt(const C& component, const Setting& at, const Sample&, std::string& note) {
  return adapt(component, at, note);
}

/// An encoding, and what of it has a part in the scores: the same without what only changes values.
struct Adapted {
  posenc::AnyEncoding encoding, of_scores;
};

template <class... Ts>
Adapted adapt_all(const posenc::Encoding<Ts...>& encoding, const Setting& at, const Sample& sample,
                  std::string& note) {
  Adapted adapted;
  encoding.for_each([&]<class C>(const C& component) {
    const auto own = adapt(component, at, sample, note);
    adapted.encoding |= own;
    if constexpr (!posenc::ValueRotation<C> && !std::is_same_v<C, posenc::ShawValues>)
      adapted.of_scores |= own;
  });
  return adapted;
}

// --- Measuring one ------------------------------------------------------------------------------

inline BiasCurves bias_curves(const posenc::AnyBound& bound, const std::vector<DistanceBin>& bins) {
  BiasCurves curves;
  for (const auto& [self, ask] : bound.answers().asked()) {
    if (!ask->relative_bias) continue;
    curves.resize(static_cast<std::size_t>(bound.shape().num_heads));
    for (std::size_t h = 0; h < curves.size(); ++h)
      for (const DistanceBin& bin : bins) {
        double bias = 0;
        ask->relative_bias(self, static_cast<Index>(h), bin.first, 1, &bias);
        curves[h].push_back(bias);
      }
  }
  return curves;
}

/// Throws posenc::Error where the scheme does not fit the setting.
inline Row measure(Row row, const Adapted& adapted, const Setting& at, const Sample& sample) {
  const posenc::BindOptions options{.num_heads = at.num_heads,
                                    .num_kv_heads = at.num_kv_heads,
                                    .head_dim = at.layer.head_dim,
                                    .scale = at.scale,
                                    .length = at.target};
  const auto bound =
      std::make_shared<const posenc::AnyBound>(posenc::bind(adapted.encoding, options));
  row.rotation = rotation_report(*bound, at);
  row.scores = score_statistics(posenc::bind(adapted.of_scores, options), at, sample);
  row.biases = bias_curves(*bound, row.scores.decay);

  // Timed on as many keys as the sample holds, as if they were the last of the sequence.
  const auto out = std::make_shared<std::vector<float>>(
      static_cast<std::size_t>(sample.num_queries() * sample.num_heads() * at.layer.head_dim));
  row.attend = [bound, out, &sample, width = at.layer.head_dim] {
    posenc::attention<float>(
        sample.queries(), sample.keys(), sample.keys(),
        posenc::TensorView<float>(out->data(), sample.num_queries(), sample.num_heads(), width),
        *bound,
        {.query_offset = sample.query_offset(),
         .key_offset = sample.query_offset() + sample.num_queries() - sample.num_keys()});
  };
  return row;
}

/// Calls visit(entry, encoding) for each scheme of the gallery that fits a model with or without
/// rotation.
template <class Visit>
void for_each_scheme(const Setting& at, Visit&& visit) {
  posenc::GallerySetting gallery{.head_dim =
                                     at.rotates() ? at.layer.rotary->rotary_dim : at.layer.head_dim,
                                 .num_heads = at.num_heads,
                                 .trained = at.trained,
                                 .target = std::max(at.trained, at.target)};
  if (at.rotates()) gallery.base = at.layer.rotary->base;
  const auto fitting = [&]<class... Ts>(const posenc::GalleryEntry& entry,
                                        const posenc::Encoding<Ts...>& encoding) {
    // Text has one coordinate: what turns pairs by rows and columns of an image says nothing of it.
    if constexpr ((std::is_same_v<Ts, posenc::Axial2D> || ...)) return;
    if (posenc::Encoding<Ts...>::num_rotary_bases == 0 || at.rotates()) visit(entry, encoding);
  };
  if (at.rotates() && at.layer.rotary->layout == posenc::config::LayoutName::interleaved)
    posenc::for_each_in_gallery<posenc::Interleaved>(gallery, fitting);
  else
    posenc::for_each_in_gallery<posenc::HalfSplit>(gallery, fitting);
}

}  // namespace compare
