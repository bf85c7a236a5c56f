// SPDX-License-Identifier: MIT
//
// RopeReader: one dictionary of rotary parameters (`rope_parameters`, once `rope_scaling`) to a
// Rotation.
//
// Which key wins:
//
//   rope_type   rope_type, else type, else "default"; "su" is longrope, "mrope" is default with
//               axes
//   base        rope_theta of the dictionary, else rope_theta or rotary_emb_base of the file, else
//               the default of the model's code
//   channels    qk_rope_head_dim, the last ones; else rotary_dim, else partial_rotary_factor of the
//               dictionary, else partial_rotary_factor, rotary_pct or rope_pct of the file, the
//               first ones
//   layout      Options, else rope_interleave, else the architecture's
//
// Two spellings of one thing with two values are a contradiction and an error, except that the
// dictionary of a layer type wins over the file without a word: it is there to say something else.
#pragma once

#include <posenc/config/huggingface/schemes.hpp>
#include <posenc/config/huggingface/unsupported.hpp>

#include <numeric>
#include <span>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

/// Shape of the heads of one kind of layer.
struct HeadGeometry {
  Index head_dim = 0;
  Index mla_rope_dim = 0;  ///< rotated block at the end of the head (qk_rope_head_dim); 0: not MLA
};

template <class Json>
class RopeReader {
 public:
  RopeReader(const Fields<Json>& file, const config::Architecture& architecture,
             const Options& options, Problems& problems)
      : file_(file), architecture_(architecture), options_(options), problems_(problems) {}

  /// `dict` may be null: no dictionary. `per_layer`: it is one of several, by layer type.
  [[nodiscard]] config::Rotation read(const Json* dict, const std::string& where, bool per_layer,
                                      const HeadGeometry& heads, config::LayerKind& layer) {
    static const Json empty = Json::object();
    const Fields<Json> fields(dict == nullptr ? empty : *dict, where, problems_);
    const std::size_t before = problems_.sentences().size();
    config::Rotation rotation;
    rotation.head_dim = heads.head_dim;
    rotation.type = read_type(fields);
    rotation.base = read_base(fields, per_layer, layer);
    read_channels(fields, per_layer, heads, rotation, layer);
    read_axes(fields, rotation, layer);
    SchemeReader<Json>(file_, fields, architecture_, options_, per_layer, problems_)
        .read(rotation, layer);
    report_unused_keys(fields, rotation.type, options_.ignore_unknown_keys, layer.notes, problems_);
    if (problems_.sentences().size() == before) rotation.check(problems_);
    return rotation;
  }

  /// Rotation without a scheme, for layers that the dictionary does not concern.
  [[nodiscard]] config::Rotation plain(double base, const HeadGeometry& heads,
                                       config::LayerKind& layer) {
    static const Json empty = Json::object();
    const Fields<Json> fields(empty, "", problems_);
    config::Rotation rotation;
    rotation.head_dim = heads.head_dim;
    rotation.base = base;
    rotation.type = "default";
    rotation.trained_context = max_positions(file_);
    read_channels(fields, true, heads, rotation, layer);
    return rotation;
  }

  [[nodiscard]] double read_base(const Fields<Json>& fields, bool per_layer,
                                 config::LayerKind& layer) {
    const auto in_dict = fields.number("rope_theta");
    const char* name = file_.mentions("rope_theta") || !file_.mentions("rotary_emb_base")
                           ? "rope_theta"
                           : "rotary_emb_base";
    const auto in_file = file_.number(name);
    if (in_dict && in_file && *in_dict != *in_file && !per_layer)
      problems_.add(fields.path("rope_theta"), " = ", *in_dict, " and ", name, " = ", *in_file,
                    " contradict each other: keep one.");
    if (in_dict)
      layer.notes.push_back(sentence("base ", *in_dict, " from ", fields.path("rope_theta"), "."));
    else if (in_file)
      layer.notes.push_back(sentence("base ", *in_file, " from ", name, "."));
    else
      layer.notes.push_back(
          sentence("base ", architecture_.base,
                   " because rope_theta is absent: the default of the model's code."));
    return in_dict ? *in_dict : in_file ? *in_file : architecture_.base;
  }

 private:
  static std::string resolve_alias(const std::string& type) {
    if (type == "su") return "longrope";
    if (type == "mrope") return "default";
    return type;
  }

  std::string read_type(const Fields<Json>& fields) {
    const auto type = fields.text("rope_type"), legacy = fields.text("type");
    if (type && legacy && resolve_alias(*type) != resolve_alias(*legacy))
      problems_.add(fields.path("rope_type"), " = \"", *type, "\" and ", fields.path("type"),
                    " = \"", *legacy, "\" contradict each other: keep rope_type.");
    if (legacy == "mrope" && !fields.mentions("mrope_section") &&
        architecture_.sections.axes() == 0)
      problems_.add(fields.path("type"), " is \"mrope\", but mrope_section is missing.");
    if (!type && !legacy)
      for (const char* scaling :
           {"factor", "alpha", "short_factor", "long_factor", "low_freq_factor"})
        if (fields.find(scaling) != nullptr) {
          problems_.add(fields.path(scaling),
                        " is given, but neither rope_type nor type says of which "
                        "scheme: add rope_type.");
          break;
        }
    return resolve_alias(type ? *type : legacy ? *legacy : "default");
  }

  void read_channels(const Fields<Json>& fields, bool per_layer, const HeadGeometry& heads,
                     config::Rotation& rotation, config::LayerKind& layer) {
    rotation.layout = options_.layout.value_or(architecture_.layout);
    if (const auto paired = file_.boolean("rope_interleave"); paired && !options_.layout)
      rotation.layout = *paired ? config::LayoutName::interleaved : config::LayoutName::half_split;
    const auto of_dict = fields.number("partial_rotary_factor");
    if (heads.mla_rope_dim != 0) {
      rotation.rotary_dim = heads.mla_rope_dim;
      rotation.rotary_offset = heads.head_dim - heads.mla_rope_dim;
      layer.notes.push_back(sentence("the last ", heads.mla_rope_dim, " of ", heads.head_dim,
                                     " channels rotate (qk_rope_head_dim, qk_nope_head_dim)."));
      return;
    }
    rotation.rotary_dim = heads.head_dim;
    if (rotation.type == "proportional") return;  // the fraction is the scheme's own
    std::optional<double> of_file;
    std::string name;
    for (const char* spelling : {"partial_rotary_factor", "rotary_pct", "rope_pct"})
      if (const auto value = file_.number(spelling); value && !of_file) {
        of_file = value;
        name = spelling;
      }
    if (of_dict && of_file && *of_dict != *of_file && !per_layer)
      problems_.add(fields.path("partial_rotary_factor"), " = ", *of_dict, " and ", name, " = ",
                    *of_file, " contradict each other: keep one.");
    const auto channels = file_.integer("rotary_dim");
    problems_.require(file_.mentions("rotary_dim") || !architecture_.needs_rotary_dim,
                      "model_type \"", architecture_.model_type,
                      "\" needs rotary_dim, which is missing (null: all channels rotate).");
    const double fraction = of_dict ? *of_dict : of_file ? *of_file : architecture_.partial;
    if (!(fraction > 0 && fraction <= 1)) {
      problems_.add(of_dict ? fields.path("partial_rotary_factor") : name,
                    " must be greater than 0 and at most 1, got ", fraction, ".");
      return;
    }
    const Index by_fraction = static_cast<Index>(static_cast<double>(heads.head_dim) * fraction);
    if (channels && (of_dict || of_file) && *channels != by_fraction)
      problems_.add("rotary_dim = ", *channels, " and ",
                    of_dict ? fields.path("partial_rotary_factor") : name, " = ", fraction, " of ",
                    heads.head_dim, " channels contradict each other.");
    rotation.rotary_dim = channels.value_or(by_fraction);
    if (rotation.rotary_dim == heads.head_dim) return;
    if (channels)
      layer.notes.push_back(sentence("the first ", rotation.rotary_dim, " of ", heads.head_dim,
                                     " channels rotate (rotary_dim)."));
    else
      layer.notes.push_back(
          sentence("the first ", rotation.rotary_dim, " of ", heads.head_dim,
                   " channels rotate (partial rotary factor ", fraction,
                   of_dict || of_file ? ")." : ", the default of the model's code)."));
  }

  /// Coordinates of positions. An architecture that has them has them always, in its code's way.
  void read_axes(const Fields<Json>& fields, config::Rotation& rotation, config::LayerKind& layer) {
    const Index pairs = rotation.rotary_dim / 2;
    const auto given = fields.numbers("mrope_section");
    const auto interleaved = fields.boolean("mrope_interleaved");
    const bool known = architecture_.sections.axes() != 0;
    problems_.require(!interleaved || !known || *interleaved == architecture_.interleaved_axes,
                      fields.path("mrope_interleaved"), " = ",
                      interleaved.value_or(false) ? "true" : "false", ", but the code of ",
                      architecture_.model_type, " does ",
                      architecture_.interleaved_axes ? "" : "not ", "interleave coordinates.");
    problems_.require(given || known || !interleaved, fields.path("mrope_interleaved"),
                      " is given, but mrope_section is missing.");
    if (!given && !known) return;
    MRoPE axes{architecture_.sections,
               known ? architecture_.interleaved_axes : interleaved.value_or(false)};
    if (given) {
      std::vector<Index> sections;
      double sum = 0;
      for (const double section : *given) {
        if (section >= 0 && section <= static_cast<double>(pairs) && section == std::floor(section))
          sections.push_back(static_cast<Index>(section));
        sum += section;
      }
      problems_.require(
          sections.size() == 3 && given->size() == 3 && sum == static_cast<double>(pairs),
          fields.path("mrope_section"), " must be three whole numbers that sum to the ", pairs,
          " rotary pairs, got ", given->size(), " numbers that sum to ", sum, ".");
      axes.sections = MRoPE::Sections(std::span<const Index>(sections));
    } else {
      const Index sum = std::accumulate(axes.sections.begin(), axes.sections.end(), Index{0});
      problems_.require(sum == pairs, fields.path("mrope_section"),
                        " is missing, and the default of ", architecture_.model_type, " is for ",
                        sum, " rotary pairs, not ", pairs, ".");
    }
    rotation.axes.rule = axes;
    layer.notes.push_back(sentence(
        given ? "mrope_section" : "the model's code, which has a default mrope_section",
        ": text has equal coordinates on all axes, so it is plain RoPE; image tokens need position "
        "ids per axis."));
  }

  const Fields<Json>& file_;
  const config::Architecture& architecture_;
  const Options& options_;
  Problems& problems_;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
