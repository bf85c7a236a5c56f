// SPDX-License-Identifier: MIT
//
// SchemeReader: the scaling scheme of one dictionary of rotary parameters.
//
//   rope_type      needs                           may have
//   default
//   linear         factor
//   dynamic        factor, or alpha (static NTK)
//   yarn           factor (null: the ratio of      beta_fast 32, beta_slow 1 (also for 0 and null),
//                  the lengths)                    attention_factor, attn_factor, mscale,
//                                                  mscale_all_dim, truncate true, finetuned true,
//                                                  llama_4_scaling_beta
//   longrope       short_factor, long_factor       factor (else the ratio of the lengths),
//                                                  attention_factor, short_mscale, long_mscale
//   llama3         factor, low_freq_factor,
//                  high_freq_factor
//   proportional                                   partial_rotary_factor 1, factor 1
//   ntk            factor                          mixed_b
//
// dynamic takes max_position_embeddings for its original context. Scaling by other keys than these
// is in own_scaling.hpp.
//
// yarn with lists is longrope with YaRN's amplitude (an early Phi-3). yarn, longrope and llama3
// also have original_max_position_embeddings; where it is looked for, and what contradicts it, is
// said in lengths.hpp.
#pragma once

#include <posenc/config/huggingface/lengths.hpp>
#include <posenc/config/huggingface/own_scaling.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
class SchemeReader {
 public:
  SchemeReader(const Fields<Json>& file, const Fields<Json>& dict,
               const config::Architecture& architecture, const Options& options, bool per_layer,
               Problems& problems)
      : file_(file), dict_(dict), architecture_(architecture), options_(options),
        lengths_(file, dict, per_layer, problems), problems_(problems) {}

  void read(config::Rotation& rotation, config::LayerKind& layer) {
    const std::string type = rotation.type;
    rotation.trained_context = lengths_.max();
    read_own_scaling(file_, architecture_.own_scaling, options_, rotation, layer, problems_);
    if (type == "default") return;
    if (type == "linear") {
      rotation.factor = lengths_.read_factor(type);
      rotation.trained_context = 0;
      if (lengths_.has_original()) {
        rotation.trained_context = lengths_.read_original(layer);
        lengths_.compare_lengths(rotation, layer);
      }
      rotation.scheme = config::Scheme{PI{rotation.factor}};
    } else if (type == "dynamic") {
      read_dynamic(rotation, layer);
    } else if (type == "yarn" && !dict_.mentions("long_factor")) {
      read_yarn(rotation, layer);
    } else if (type == "longrope" || type == "yarn") {
      read_long_rope(rotation, layer);
    } else if (type == "llama3") {
      rotation.factor = lengths_.read_factor(type);
      rotation.trained_context = lengths_.read_original(layer);
      rotation.scheme =
          config::Scheme{Llama3{.factor = rotation.factor,
                                .low_freq_factor = lengths_.required(type, "low_freq_factor"),
                                .high_freq_factor = lengths_.required(type, "high_freq_factor"),
                                .original_context = rotation.trained_context}};
    } else if (type == "proportional") {
      const auto fraction = dict_.number("partial_rotary_factor"),
                 of_file = file_.number(file_.key_of(spellings::partial));
      rotation.factor = dict_.number("factor").value_or(1);
      lengths_.check_factor(rotation.factor);
      rotation.scheme =
          config::Scheme{Proportional{fraction ? *fraction : of_file.value_or(1), rotation.factor}};
    } else if (type == "ntk") {
      rotation.factor = lengths_.read_factor(type);
      const auto mixed = dict_.number("mixed_b");
      rotation.scheme = config::Scheme{NTK{.alpha = rotation.factor,
                                           .form = mixed ? NTKForm::su_mixed : NTKForm::su_fixed,
                                           .exponent = mixed.value_or(NTK{}.exponent)}};
    } else {
      problems_.add(dict_.path(dict_.has("rope_type") ? "rope_type" : "type"), " = \"",
                    file::shorten(type),
                    "\" is not a scheme that posenc knows: default, "
                    "linear, dynamic, yarn, longrope, llama3, proportional, ntk.");
    }
  }

 private:
  void read_dynamic(config::Rotation& rotation, config::LayerKind& layer) {
    if (const auto alpha = dict_.number("alpha"); alpha && *alpha != 0) {
      rotation.factor = *alpha;
      rotation.scheme = config::Scheme{NTK{.alpha = *alpha}};
      layer.notes.push_back(
          "rope_type \"dynamic\" with alpha is static: the base grows once, by alpha.");
      return;
    }
    rotation.factor = lengths_.read_factor("dynamic");
    problems_.require(lengths_.max() > 0 || lengths_.is_bad(),
                      "rope_type \"dynamic\" needs max_position_embeddings, which is missing.");
    rotation.scheme = config::LengthScheme{
        DynamicNTK{.factor = rotation.factor, .original_context = lengths_.max()}};
  }

  void read_yarn(config::Rotation& rotation, config::LayerKind& layer) {
    lengths_.read_factor_or_ratio(rotation, layer, true);
    YaRN yarn{.factor = rotation.factor, .original_context = rotation.trained_context};
    if (const double beta = dict_.number("beta_fast").value_or(0); beta != 0) yarn.beta_fast = beta;
    if (const double beta = dict_.number("beta_slow").value_or(0); beta != 0) yarn.beta_slow = beta;
    yarn.truncate = dict_.boolean("truncate").value_or(true);
    yarn.mscale = dict_.number("mscale", 0, greatest_scale);
    yarn.mscale_all_dim = dict_.number("mscale_all_dim", 0, greatest_scale);
    yarn.attention_factor = dict_.number("attention_factor", least_scale, greatest_scale);
    if (architecture_.scale == config::ScaleRule::mscale)
      yarn.temperature_rule = YaRNTemperature::deepseek;
    const std::string_view rule = yarn.resolve_temperature().rule;
    if (const auto multiplier = dict_.number("attn_factor", least_scale, greatest_scale)) {
      problems_.require(!yarn.attention_factor || *yarn.attention_factor == *multiplier,
                        dict_.path("attention_factor"), " = ", yarn.attention_factor.value_or(0),
                        " and ", dict_.path("attn_factor"), " = ", *multiplier,
                        " contradict each other: keep one.");
      if (!yarn.attention_factor)
        yarn.attention_factor = yarn.resolve_temperature().attention_factor * *multiplier;
    }
    layer.notes.push_back(
        sentence("attention factor ", yarn.resolve_temperature().attention_factor, ": ", rule,
                 dict_.mentions("attn_factor") ? ", times attn_factor" : "", "."));
    if (const auto beta = dict_.number("llama_4_scaling_beta", 0, greatest_scale))
      layer.score.rule = StepTemperature{*beta, rotation.trained_context, 0};
    if (!dict_.boolean("finetuned").value_or(true)) {
      layer.notes.push_back("finetuned is false: the factor follows the current length.");
      yarn.factor = 1;
      rotation.scheme = config::LengthScheme{Dynamic<YaRN>{.scheme = yarn}};
    } else {
      rotation.scheme = config::Scheme{yarn};
    }
  }

  void read_long_rope(config::Rotation& rotation, config::LayerKind& layer) {
    lengths_.read_factor_or_ratio(rotation, layer, false);
    for (const char* key : {"short_factor", "long_factor"})
      problems_.require(dict_.find(key) != nullptr, "rope_type \"", rotation.type, "\" needs ",
                        dict_.path(key), ", which is missing.");
    const auto fill = [&]<class LongRoPEType>(LongRoPEType scheme) {
      scheme.short_factor = dict_.numbers("short_factor").value_or(std::vector<double>{});
      scheme.long_factor = dict_.numbers("long_factor").value_or(std::vector<double>{});
      scheme.factor = rotation.factor;
      scheme.original_context = rotation.trained_context;
      if (rotation.type == "yarn") scheme.amplitude = LongRoPEAmplitude::yarn;
      scheme.attention_factor = dict_.number("attention_factor", least_scale, greatest_scale);
      scheme.short_mscale = dict_.number("short_mscale", least_scale, greatest_scale);
      scheme.long_mscale = dict_.number("long_mscale", least_scale, greatest_scale);
      layer.notes.push_back(sentence(
          "attention factor ", scheme.resolve_attention_factor(1), " for the short list, ",
          scheme.resolve_attention_factor(rotation.trained_context + 1), " for the long one: ",
          scheme.short_mscale || scheme.long_mscale ? "short_mscale and long_mscale as given"
          : scheme.attention_factor                 ? "attention_factor as given"
          : rotation.type == "yarn"                 ? "0.1 ln(factor) + 1"
                                                    : "sqrt(1 + ln(factor) / ln(original context))",
          "."));
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

  const Fields<Json>& file_;
  const Fields<Json>& dict_;
  const config::Architecture& architecture_;
  const Options& options_;
  LengthReader<Json> lengths_;
  Problems& problems_;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
