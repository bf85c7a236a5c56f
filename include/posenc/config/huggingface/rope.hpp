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
//               the default of Hugging Face's class, else 10000; times rope_ratio (ChatGLM). rotary.base
//               is the file's where its model's code reads that (InternLM)
//   channels    channels.hpp
//   layout      Options, else rope_interleave, else the architecture's, which may be by a flag
//               (original_rope of ChatGLM)
//
// Two spellings of one thing with two values are a contradiction and an error, except that the
// dictionary of a layer type wins over the file without a word: it is there to say something else.
#pragma once

#include <posenc/config/huggingface/axes.hpp>
#include <posenc/config/huggingface/channels.hpp>
#include <posenc/config/huggingface/schemes.hpp>
#include <posenc/config/huggingface/unused.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

/// What a dictionary is beside its values.
struct DictionaryPlace {
  std::string where;       ///< "rope_scaling", "rope_parameters.full_attention"
  bool per_layer = false;  ///< one of several, by layer type
  bool of_class = false;   ///< the class's, where the file has none
  std::string base_key{};  ///< of the file, for a base of these layers' own; "": rope_theta
};

template <class Json>
class RopeReader {
 public:
  RopeReader(const Fields<Json>& file, const config::Architecture& architecture, bool is_known,
             const Options& options, Problems& problems)
      : file_(file), architecture_(architecture), is_known_(is_known), options_(options),
        problems_(problems) {}

  /// `dict` may be null: no dictionary.
  [[nodiscard]] config::Rotation read(const Json* dict, const DictionaryPlace& place,
                                      const Heads& heads, config::LayerKind& layer) {
    static const Json empty = Json::object();
    const Fields<Json> fields(dict == nullptr ? empty : *dict, place.where, problems_);
    const std::size_t before = problems_.sentences().size();
    config::Rotation rotation;
    rotation.head_dim = layer.head_dim;
    rotation.type = read_type(fields);
    rotation.base = read_base(fields, place, layer);
    read_layout(rotation);
    ChannelReader<Json>(file_, problems_)
        .read(fields, place.per_layer || place.of_class, heads, rotation, layer);
    read_axes(fields, architecture_, rotation, layer, problems_);
    SchemeReader<Json>(file_, fields, architecture_, options_, place.per_layer, problems_)
        .read(rotation, layer);
    check_repeated_length(fields);
    check_mscale(fields);
    report_unused_of_scheme(fields, rotation.type, options_, layer.notes, problems_);
    if (problems_.sentences().size() == before) check(rotation, place.where);
    return rotation;
  }

  /// Rotation without a scheme, for layers that the dictionary does not concern.
  [[nodiscard]] config::Rotation plain(double base, const Heads& heads, config::LayerKind& layer) {
    static const Json empty = Json::object();
    const Fields<Json> fields(empty, "", problems_);
    const std::size_t before = problems_.sentences().size();
    config::Rotation rotation;
    rotation.head_dim = layer.head_dim;
    rotation.base = base;
    rotation.type = "default";
    rotation.trained_context = max_positions(file_);
    read_layout(rotation);
    ChannelReader<Json>(file_, problems_).read(fields, true, heads, rotation, layer);
    if (problems_.sentences().size() == before) check(rotation, "");
    return rotation;
  }

  [[nodiscard]] double read_base(const Fields<Json>& fields, const DictionaryPlace& place,
                                 config::LayerKind& layer) {
    const auto in_dict = fields.number("rope_theta");
    const bool is_own = !place.base_key.empty();
    std::string name = is_own ? place.base_key : file_.key_of(spellings::base);
    std::optional<double> in_file;
    if (file_.peek(name) != nullptr) in_file = file_.number(name);
    if (const auto own = own_base(file_, architecture_.own_scaling, problems_)) {
      problems_.require(!in_file || *in_file == *own, own_base_path, " = ", *own, " and ", name,
                        " = ", in_file.value_or(0), " contradict each other: keep one.");
      in_file = own;
      name = own_base_path;
    }
    const bool may_differ = place.per_layer || place.of_class;
    if (in_file && !in_dict && name == "rope_theta" && !architecture_.base_key.empty() &&
        !file_.is_bad(name))
      problems_.add("rope_theta = ", *in_file,
                    " is not read by the code of this model_type, which reads ",
                    architecture_.base_key, ": write that.");
    if (in_dict && in_file && *in_dict != *in_file && !may_differ)
      problems_.add(fields.path("rope_theta"), " = ", *in_dict, " and ", name, " = ", *in_file,
                    " contradict each other: keep one.");
    double base = 10000;
    std::string from = name;
    if (in_dict && !(place.of_class && in_file && !place.per_layer)) {
      base = *in_dict;
      from = fields.path("rope_theta");
      layer.notes.push_back(sentence("base ", base, " from ", from,
                                     place.of_class ? " of Hugging Face's class." : "."));
    } else if (in_file) {
      base = in_file.value_or(base);
      layer.notes.push_back(sentence("base ", base, " from ", name, "."));
    } else {
      const Json* known = file_.class_value(is_own ? name : "rope_theta");
      if (known != nullptr && known->is_number()) base = known->template get<double>();
      layer.notes.push_back(sentence(
          "base ", base, " because ", is_own ? name : "rope_theta",
          " is absent: ", is_known_ ? "the default of the model's code." : "the usual default."));
    }
    if (const auto ratio = file_.number("rope_ratio")) {
      base *= *ratio;
      from += " times rope_ratio";
      layer.notes.push_back(sentence("base times rope_ratio = ", *ratio, "."));
    }
    if (base > 1 && std::isfinite(base)) return base;
    problems_.add(from,
                  " must be greater than 1 and finite: the base must be positive, and pairs "
                  "turn ever more slowly, got ",
                  base, ".");
    return 10000;
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
      problems_.add(fields.path("rope_type"), " = \"", file::shorten(*type), "\" and ",
                    fields.path("type"), " = \"", file::shorten(*legacy),
                    "\" contradict each other: keep rope_type.");
    if (legacy == "mrope" && fields.peek("mrope_section") == nullptr &&
        architecture_.sections.axes() == 0)
      problems_.add(fields.path("type"), " is \"mrope\", but mrope_section is missing.");
    if (!type && !legacy && !fields.is_bad("rope_type") && !fields.is_bad("type"))
      for (const char* scaling :
           {"factor", "alpha", "short_factor", "long_factor", "low_freq_factor"})
        if (fields.find(scaling) != nullptr) {
          problems_.add(fields.path(scaling), " = ", file::echo(*fields.find(scaling)),
                        " is given, but neither rope_type nor type says of which "
                        "scheme: add rope_type.");
          break;
        }
    return resolve_alias(type ? *type : legacy ? *legacy : "default");
  }

  void read_layout(config::Rotation& rotation) const {
    rotation.layout = options_.layout.value_or(architecture_.layout);
    if (const std::string flag(architecture_.halves_key);
        !flag.empty() && !file_.boolean(flag).value_or(true) && !options_.layout)
      rotation.layout = config::LayoutName::half_split;
    if (const auto paired = file_.boolean(file_.key_of(spellings::interleaved));
        paired && !options_.layout)
      rotation.layout = *paired ? config::LayoutName::interleaved : config::LayoutName::half_split;
  }

  /// 5.x writes max_position_embeddings into some dictionaries as well.
  void check_repeated_length(const Fields<Json>& fields) {
    const auto repeated = fields.integer("max_position_embeddings");
    const Position most = max_positions(file_);
    problems_.require(!repeated || most == 0 || *repeated == most,
                      fields.path("max_position_embeddings"), " = ", repeated.value_or(0),
                      " and max_position_embeddings = ", most, " contradict each other: keep one.");
  }

  /// Whether a model multiplies its softmax scale by mscale_all_dim is a matter of its code.
  void check_mscale(const Fields<Json>& fields) {
    const auto all = fields.number("mscale_all_dim");
    if (!is_known_ && all && *all != 0 && !options_.ignore_unknown_keys)
      problems_.add(fields.path("mscale_all_dim"), " = ", *all,
                    " multiplies the softmax scale in some models and not in others, and which it "
                    "is for this model_type is not known: ",
                    options_.remedies.ignore_unknown_keys, " for a scale without it.");
  }

  /// The same checks as bind(), and that no frequency is lost at the longest position.
  void check(const config::Rotation& rotation, const std::string& where) {
    if (rotation.head_dim == 0) return;  // said already
    Problems found;
    rotation.check(found);
    for (const std::string& sentence : found.sentences())
      problems_.add(where.empty() ? "" : where + ": ", sentence);
    if (!found.empty()) return;
    for (const Position length :
         {Position{0}, 2 * std::max<Position>(rotation.trained_context, 1)}) {
      const RotaryState state = rotation.state(length);
      if (std::isfinite(state.base) && state.inv_freq.allFinite() &&
          std::isfinite(state.attention_factor) && std::isfinite(state.score_factor))
        continue;
      problems_.add(where, ": the frequencies of rope_type \"", rotation.type, "\" with factor ",
                    rotation.factor, " are not finite at ", length, " tokens.");
      return;
    }
  }

  const Fields<Json>& file_;
  const config::Architecture& architecture_;
  bool is_known_;
  const Options& options_;
  Problems& problems_;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
