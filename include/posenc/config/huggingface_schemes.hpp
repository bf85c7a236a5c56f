// SPDX-License-Identifier: MIT
//
// SchemeReader: the scaling scheme of one dictionary of rotary parameters.
//
//   rope_type      needs                                          may have
//   default
//   linear         factor
//   dynamic        factor (the context is max_position_embeddings), or alpha: then it is static NTK
//   yarn           factor (null: the ratio of the lengths)        beta_fast 32, beta_slow 1 (0 and null too),
//                                                                 attention_factor, attn_factor, mscale,
//                                                                 mscale_all_dim, truncate true, finetuned true,
//                                                                 llama_4_scaling_beta
//   longrope       short_factor, long_factor                      factor (else the ratio of the lengths),
//                                                                 attention_factor, short_mscale, long_mscale
//   llama3         factor, low_freq_factor, high_freq_factor
//   proportional                                                  partial_rotary_factor 1, factor 1
//   ntk            factor                                         mixed_b
//
// yarn with lists is longrope with YaRN's amplitude (an early Phi-3). yarn, longrope and llama3 take the
// original context from the file, else from the dictionary (a dictionary per layer type: the other way
// round), else max_position_embeddings stands for it.
//
// Lengths contradict each other where max_position_embeddings is beyond factor * original context, for
// linear, yarn and longrope: positions are promised that the scaling does not reach. Less is common and
// fine: files keep the unextended length when a scheme was added afterwards (Qwen2.5: 32,768 with factor
// 4; Qwen3: 40,960). llama3's factor is not a ratio of lengths (Llama 3.1: 8, with lengths 16 apart), so
// there nothing is compared.
#pragma once

#include <posenc/config/huggingface_keys.hpp>
#include <posenc/config/model.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

struct Options {
  std::optional<config::LayoutName> layout{};  ///< for a model_type that posenc does not know
  LongRoPESelection long_rope = LongRoPESelection::by_length;  ///< which list of longrope applies
  bool ignore_unknown_keys = false;  ///< go on where a rotary dictionary has a key unknown to posenc
};

/// The longest position that a file promises; 0: it does not say.
template <class Json>
[[nodiscard]] Position max_positions(const Keys<Json>& file) {
  return file.integer({"max_position_embeddings", "n_positions", "max_seq_len", "seq_length"}).value_or(0);
}

template <class Json>
class SchemeReader {
 public:
  SchemeReader(const Keys<Json>& file, const Keys<Json>& dict, const config::Family& family,
               const Options& options, bool per_layer, Problems& problems)
      : file_(file), dict_(dict), family_(family), options_(options), per_layer_(per_layer),
        max_(max_positions(file)), problems_(problems) {}

  void read(config::Rotation& rotation, config::LayerKind& layer) {
    const std::string& type = rotation.type;
    rotation.trained_context = max_;
    if (type == "default") {
      if (family_.model_type == "qwen") read_qwen(rotation, layer);
    } else if (type == "linear") {
      rotation.factor = read_factor(type);
      rotation.trained_context = 0;
      if (dict_.mentions(original_key) || file_.mentions(original_key)) {
        rotation.trained_context = read_original(layer);
        compare_lengths(rotation, layer);
      }
      rotation.scheme = config::Scheme{PI{rotation.factor}};
    } else if (type == "dynamic") {
      read_dynamic(rotation, layer);
    } else if (type == "yarn" && !dict_.mentions("long_factor")) {
      read_yarn(rotation, layer);
    } else if (type == "longrope" || type == "yarn") {
      read_long_rope(rotation, layer);
    } else if (type == "llama3") {
      rotation.factor = read_factor(type);
      rotation.trained_context = read_original(layer);
      rotation.scheme = config::Scheme{Llama3{.factor = rotation.factor,
                                              .low_freq_factor = required(type, "low_freq_factor"),
                                              .high_freq_factor = required(type, "high_freq_factor"),
                                              .original_context = rotation.trained_context}};
    } else if (type == "proportional") {
      const auto fraction = dict_.number("partial_rotary_factor"), of_file = file_.number("partial_rotary_factor");
      rotation.factor = dict_.number("factor").value_or(1);
      check_factor(rotation.factor);
      rotation.scheme = config::Scheme{
          Proportional{fraction ? *fraction : of_file.value_or(1), rotation.factor}};
    } else if (type == "ntk") {
      rotation.factor = read_factor(type);
      const auto mixed = dict_.number("mixed_b");
      rotation.scheme = config::Scheme{NTK{.alpha = rotation.factor,
                                           .form = mixed ? NTKForm::su_mixed : NTKForm::su_fixed,
                                           .exponent = mixed.value_or(NTK{}.exponent)}};
    } else {
      problems_.add(dict_.path("rope_type"), " = \"", type, "\" is not a scheme that posenc knows: default, "
                    "linear, dynamic, yarn, longrope, llama3, proportional, ntk.");
    }
  }

 private:
  static constexpr const char* original_key = "original_max_position_embeddings";

  void read_dynamic(config::Rotation& rotation, config::LayerKind& layer) {
    if (const auto alpha = dict_.number("alpha"); alpha && *alpha != 0) {
      rotation.factor = *alpha;
      rotation.scheme = config::Scheme{NTK{.alpha = *alpha}};
      layer.notes.push_back("rope_type \"dynamic\" with alpha is static: the base grows once, by alpha.");
      return;
    }
    rotation.factor = read_factor("dynamic");
    problems_.require(max_ > 0, "rope_type \"dynamic\" needs max_position_embeddings, which is missing.");
    rotation.scheme = config::LengthScheme{DynamicNTK{.factor = rotation.factor, .original_context = max_}};
  }

  /// The first Qwen: dynamic NTK and log-n scaling, by flags of their own.
  void read_qwen(config::Rotation& rotation, config::LayerKind& layer) {
    const Position trained = file_.integer("seq_length").value_or(max_);
    rotation.trained_context = trained;
    if (file_.boolean("use_dynamic_ntk").value_or(false))
      rotation.scheme =
          config::LengthScheme{DynamicNTK{.original_context = trained, .form = DynamicNTKForm::qwen}};
    if (file_.boolean("use_logn_attn").value_or(false))
      layer.score.rule = LogN{.base_length = trained, .clipped = true};
  }

  void read_yarn(config::Rotation& rotation, config::LayerKind& layer) {
    read_factor_or_ratio(rotation, layer, true);
    YaRN yarn{.factor = rotation.factor, .original_context = rotation.trained_context};
    if (const double beta = dict_.number("beta_fast").value_or(0); beta != 0) yarn.beta_fast = beta;
    if (const double beta = dict_.number("beta_slow").value_or(0); beta != 0) yarn.beta_slow = beta;
    yarn.truncate = dict_.boolean("truncate").value_or(true);
    yarn.mscale = dict_.number("mscale");
    yarn.mscale_all_dim = dict_.number("mscale_all_dim");
    yarn.attention_factor = dict_.number("attention_factor");
    if (family_.mscale_in_softmax) yarn.temperature_rule = YaRNTemperature::deepseek;
    const std::string_view rule = yarn.resolve_temperature().rule;
    if (const auto multiplier = dict_.number("attn_factor")) {
      problems_.require(!yarn.attention_factor || *yarn.attention_factor == *multiplier,
                        dict_.path("attention_factor"), " = ", yarn.attention_factor.value_or(0), " and ",
                        dict_.path("attn_factor"), " = ", *multiplier, " contradict each other: keep one.");
      if (!yarn.attention_factor)
        yarn.attention_factor = yarn.resolve_temperature().attention_factor * *multiplier;
    }
    const YaRN::Resolved resolved = yarn.resolve_temperature();
    layer.notes.push_back(sentence("attention factor ", resolved.attention_factor, ": ", rule,
                                   dict_.mentions("attn_factor") ? ", times attn_factor" : "", "."));
    if (resolved.score_factor != 1)
      layer.notes.push_back(sentence("softmax scale times ", resolved.score_factor, ", from mscale_all_dim."));
    if (const auto beta = dict_.number("llama_4_scaling_beta"))
      layer.score.rule = config::StepTemperature{*beta, rotation.trained_context, 0};
    if (!dict_.boolean("finetuned").value_or(true)) {
      layer.notes.push_back("finetuned is false: the factor follows the current length.");
      yarn.factor = 1;
      rotation.scheme = config::LengthScheme{Dynamic<YaRN>{.scheme = yarn}};
    } else {
      rotation.scheme = config::Scheme{yarn};
    }
  }

  void read_long_rope(config::Rotation& rotation, config::LayerKind& layer) {
    read_factor_or_ratio(rotation, layer, false);
    for (const char* key : {"short_factor", "long_factor"})
      problems_.require(dict_.find(key) != nullptr, "rope_type \"", rotation.type, "\" needs ", dict_.path(key),
                        ", which is missing.");
    const auto fill = [&]<class LongRoPEType>(LongRoPEType scheme) {
      scheme.short_factor = dict_.numbers("short_factor").value_or(std::vector<double>{});
      scheme.long_factor = dict_.numbers("long_factor").value_or(std::vector<double>{});
      scheme.factor = rotation.factor;
      scheme.original_context = rotation.trained_context;
      if (rotation.type == "yarn") scheme.amplitude = LongRoPEAmplitude::yarn;
      scheme.attention_factor = dict_.number("attention_factor");
      scheme.short_mscale = dict_.number("short_mscale");
      scheme.long_mscale = dict_.number("long_mscale");
      layer.notes.push_back(
          sentence("attention factor ", scheme.resolve_attention_factor(1), " for the short list, ",
                   scheme.resolve_attention_factor(rotation.trained_context + 1), " for the long one: ",
                   scheme.short_mscale || scheme.long_mscale ? "short_mscale and long_mscale as given"
                   : scheme.attention_factor                 ? "attention_factor as given"
                   : rotation.type == "yarn"                 ? "0.1 ln(factor) + 1"
                                             : "sqrt(1 + ln(factor) / ln(original context))", "."));
      return scheme;
    };
    switch (options_.long_rope) {
      case LongRoPESelection::by_length:
        rotation.scheme = config::LengthScheme{fill(LongRoPE{})};
        break;
      case LongRoPESelection::always_long:
        rotation.scheme = config::Scheme{fill(LongRoPELong{})};
        break;
      case LongRoPESelection::always_short:
        rotation.scheme = config::Scheme{fill(LongRoPEShort{})};
        break;
    }
  }

  double required(const std::string& type, const char* key) {
    const auto value = dict_.number(key);
    problems_.require(dict_.find(key) != nullptr, "rope_type \"", type, "\" needs ", dict_.path(key),
                      ", which is missing.");
    return value.value_or(1);
  }

  double read_factor(const std::string& type) {
    const double factor = required(type, "factor");
    check_factor(factor);
    return factor;
  }

  void check_factor(double factor) {
    problems_.require(factor >= 1, dict_.path("factor"), " must be at least 1, got ", factor, ".");
  }

  /// `factor`, or the ratio of the lengths; `must_mention`: then the key must be there and be null.
  void read_factor_or_ratio(config::Rotation& rotation, config::LayerKind& layer, bool must_mention) {
    const Position original = rotation.trained_context = read_original(layer);
    const auto factor = dict_.number("factor");
    if (factor) {
      rotation.factor = *factor;
      check_factor(*factor);
      compare_lengths(rotation, layer);
      return;
    }
    if (must_mention && !dict_.mentions("factor"))
      problems_.add("rope_type \"", rotation.type, "\" needs ", dict_.path("factor"),
                    ", which is missing (null means max_position_embeddings over the original context).");
    if (max_ == 0 || original == 0) return;
    rotation.factor = static_cast<double>(max_) / static_cast<double>(original);
    problems_.require(rotation.factor >= 1, "max_position_embeddings = ", max_, " contradicts ", original_key, " = ",
                      original, ": the extended length is the shorter one.");
    layer.notes.push_back(sentence("factor ", rotation.factor, ": max_position_embeddings ", max_,
                                   " over the original context ", original, "."));
  }

  Position read_original(config::LayerKind& layer) {
    const auto in_dict = dict_.integer(original_key), in_file = file_.integer(original_key);
    const bool dict_wins = per_layer_ ? in_dict.has_value() : !in_file;
    const auto chosen = dict_wins ? in_dict : in_file;
    if (in_dict && in_file && *in_dict != *in_file)
      layer.notes.push_back(sentence("original context ", *chosen, ": ",
                                     dict_wins ? dict_.path(original_key) : original_key, " wins over ",
                                     dict_wins ? original_key : dict_.path(original_key), " = ",
                                     dict_wins ? *in_file : *in_dict, "."));
    if (chosen) {
      problems_.require(*chosen > 0, original_key, " must be positive, got ", *chosen, ".");
      return *chosen;
    }
    problems_.require(max_ > 0, "neither ", dict_.path(original_key),
                      " nor max_position_embeddings is given.");
    layer.notes.push_back(sentence("original context ", max_, ": ", original_key,
                                   " is absent, and max_position_embeddings stands for it."));
    return max_;
  }

  void compare_lengths(const config::Rotation& rotation, config::LayerKind& layer) {
    const double max = static_cast<double>(max_), trained = static_cast<double>(rotation.trained_context);
    const double reach = rotation.factor * trained;
    if (max == 0 || trained <= 0 || !(rotation.factor >= 1)) return;
    problems_.require(max <= reach * (1 + 1e-6), dict_.path("factor"), " = ", rotation.factor,
                      " contradicts max_position_embeddings = ", max, " over ", original_key, " = ", trained,
                      ", which is ", max / trained, ": the scaling reaches ", reach, " positions only.");
    problems_.require(max >= trained, "max_position_embeddings = ", max, " contradicts ", original_key,
                      " = ", trained, ": the extended length is the shorter one.");
    if (max < reach * (1 - 1e-6))
      layer.notes.push_back(sentence("max_position_embeddings = ", max, " is less than the ", reach,
                                     " positions that the scaling reaches."));
  }

  const Keys<Json>& file_;
  const Keys<Json>& dict_;
  const config::Family& family_;
  const Options& options_;
  bool per_layer_;
  Position max_;
  Problems& problems_;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
