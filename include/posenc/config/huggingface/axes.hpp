// SPDX-License-Identifier: MIT
//
// Coordinates of positions: mrope_section and mrope_interleaved of a rotary dictionary.
//
// An architecture that has coordinates has them always, in its code's way: the file's sections, or
// those of the code. Of others the file must say how pairs share them.
#pragma once

#include <posenc/config/huggingface/fields.hpp>
#include <posenc/config/model.hpp>

#include <numeric>
#include <span>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

namespace detail {

/// height, width, height, width, ..., and time for the last pairs; coordinates are (t, h, w).
[[nodiscard]] inline std::vector<int> height_width_in_turns(const MRoPE::Sections& sections) {
  std::vector<int> axis;
  for (Index i = 0; i < sections[0] + sections[1]; ++i) axis.push_back(i % 2 == 0 ? 1 : 2);
  axis.resize(axis.size() + static_cast<std::size_t>(sections[2]), 0);
  return axis;
}

/// The sections of a file; empty after a problem.
[[nodiscard]] inline MRoPE::Sections whole_sections(const std::vector<double>& given, Index pairs) {
  std::vector<Index> sections;
  double sum = 0;
  for (const double section : given) {
    if (section >= 0 && section <= static_cast<double>(pairs) && section == std::floor(section))
      sections.push_back(static_cast<Index>(section));
    sum += section;
  }
  if (sections.size() != 3 || given.size() != 3 || sum != static_cast<double>(pairs)) return {};
  return MRoPE::Sections(std::span<const Index>(sections));
}

}  // namespace detail

template <class Json>
void read_axes(const Fields<Json>& fields, const config::Architecture& architecture,
               config::Rotation& rotation, config::LayerKind& layer, Problems& problems) {
  using enum config::AxesRule;
  const Index pairs = rotation.rotary_dim / 2;
  const auto given = fields.numbers("mrope_section");
  const std::string key = fields.key_of(spellings::axes_in_turns);
  const auto in_turns = fields.boolean(key);
  const auto rule = architecture.axes;
  problems.require(!in_turns || rule == by_file || *in_turns == (rule == turns), fields.path(key),
                   " = ", in_turns.value_or(false) ? "true" : "false",
                   ", but the code of this model_type does ", rule == turns ? "" : "not ",
                   "interleave coordinates.");
  if (fields.is_bad("mrope_section")) return;
  problems.require(given || rule != by_file || !in_turns, fields.path(key),
                   " is given, but mrope_section is missing.");
  if (!given && rule == by_file) return;
  MRoPE axes{architecture.sections, rule == turns || (rule == by_file && in_turns.value_or(false))};
  if (given) {
    axes.sections = detail::whole_sections(*given, pairs);
    if (axes.sections.axes() == 0)
      return problems.add(fields.path("mrope_section"),
                          " must be three whole numbers that sum to the ", pairs,
                          " rotary pairs, got ", file::echo(*fields.find("mrope_section")), ".");
  } else {
    const Index sum = std::accumulate(axes.sections.begin(), axes.sections.end(), Index{0});
    if (sum != pairs)
      return problems.add(fields.path("mrope_section"),
                          " is missing, and the default of the code is for ", sum,
                          " rotary pairs, not ", pairs, ".");
  }
  if (rule == height_width_in_turns) {
    if (axes.sections[0] != axes.sections[1])
      return problems.add(fields.path("mrope_section"), " must begin with two equal numbers, got ",
                          axes.sections[0], " and ", axes.sections[1], ".");
    rotation.axes.of_pair = detail::height_width_in_turns(axes.sections);
  } else {
    rotation.axes.rule = axes;
  }
  layer.notes.push_back(sentence(
      given ? "mrope_section" : "the model's code, which has a default mrope_section",
      ": text has equal coordinates on all axes, so it is plain RoPE; image tokens need position "
      "ids per axis."));
}

}  // namespace huggingface
POSENC_NAMESPACE_END
