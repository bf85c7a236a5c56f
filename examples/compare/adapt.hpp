// SPDX-License-Identifier: MIT
//
// What the gallery cannot know of the model at hand, filled in component by component: the block of
// channels that rotates, lists of LongRoPE, slopes of sampled heads, vectors that the sample's
// queries and keys respond to.
#pragma once

#include "parameters.hpp"
#include "sample.hpp"

namespace compare {

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

/// Distances of the whole length are tabulated; those beyond the table cost a logarithm each.
inline posenc::Fire adapt(posenc::Fire bias, const Setting& at, std::string& note) {
  note = learned;
  bias.cached_distances =
      std::clamp<Index>(static_cast<Index>(at.target), bias.cached_distances, Index{1} << 20);
  return bias;
}

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
  std::string parameters{};
};

/// What every scheme has, or has as the model has it, is not worth a word.
template <class C>
bool says_something(const C&, const Setting&) {
  return !std::is_same_v<C, posenc::Causal>;
}
template <class L>
bool says_something(const posenc::RoPE<L>& rope, const Setting& at) {
  return rope.rotated_channels() != at.layer.rotary->rotary_dim;
}

/// The components of a scheme, filled in one after another. What was done to the rotation in training stays, but for
/// lists that replace it.
class Filling {
 public:
  Filling(const Setting& at, const Sample& sample, std::string& note, bool has_lists)
      : at_(at), sample_(sample), note_(note), has_lists_(has_lists) {}

  template <class C>
  void add(const C& component) {
    const auto own = adapt(component, at_, sample_, note_);
    join(own);
    say(own);
  }
  /// Pairs are the model's.
  void add(const posenc::RoPE<posenc::HalfSplit>& rope) {
    const auto own = adapt(rope, at_, note_);
    if (at_.layer.rotary->layout == posenc::config::LayoutName::interleaved)
      join(posenc::RoPE<posenc::Interleaved>{.head_dim = own.head_dim,
                                             .base = own.base,
                                             .rotary_dim = own.rotary_dim,
                                             .rotary_offset = own.rotary_offset});
    else
      join(own);
    if (!has_lists_)
      if (const auto scheme = scheme_of_training(*at_.layer.rotary, at_.trained)) join(*scheme);
    say(own);
  }

  [[nodiscard]] Adapted done() && {
    if (adapted_.parameters.empty()) adapted_.parameters = "no parameters";
    return std::move(adapted_);
  }

 private:
  template <class C>
  void join(const C& part) {
    adapted_.encoding |= part;
    if constexpr (!posenc::ValueRotation<C> && !std::is_same_v<C, posenc::ShawValues>)
      adapted_.of_scores |= part;
  }
  template <class C>
  void say(const C& own) {
    if (says_something(own, at_))
      adapted_.parameters += (adapted_.parameters.empty() ? "" : " | ") + parameters::of(own);
  }

  const Setting& at_;
  const Sample& sample_;
  std::string& note_;
  bool has_lists_;
  Adapted adapted_{};
};

template <class... Ts>
Adapted adapt_all(const posenc::Encoding<Ts...>& encoding, const Setting& at, const Sample& sample,
                  std::string& note) {
  Filling filling(at, sample, note, (std::is_same_v<Ts, posenc::LongRoPE> || ...));
  encoding.for_each([&](const auto& component) { filling.add(component); });
  return std::move(filling).done();
}

}  // namespace compare
