// SPDX-License-Identifier: MIT
//
// RopeReader: the keys {architecture}.rope.* and the tensors of rotary factors to a Rotation.
//
//   base       rope.freq_base, else 10000
//   channels   rope.dimension_count, else all of a head
//   factor     rope.scaling.factor, else rope.scale_linear, else 1; 0 stands for 1
//   L          rope.scaling.original_context_length, else context_length
//   A          rope.scaling.attn_factor, else 1
//
//   what the file has                        scheme
//   tensor rope_freqs                        w_i / rope_freqs[i] (Llama 3 is converted to this)
//   tensors rope_factors_short, _long        LongRoPE with these lists and A
//   rope.scaling.type "none"                 none, whatever the factor
//   "linear", or no type                     PI
//   "yarn"                                   YaRN of ramp [yarn_beta_fast 32, yarn_beta_slow 1] and
//                                            A (0.1 ln(factor) + 1); with yarn_log_multiplier the
//                                            rule of DeepSeek, and scores are multiplied by A^2
//
// YaRN's amplitude is not written into A by ggml's converter: llama.cpp multiplies by it, and
// cancels the one that is built into ggml's rotation.
//
// Source: ggml-org/llama.cpp, src/llama-model.cpp and src/llama-context.cpp; ggml-org/ggml, ggml_rope_ext.
#pragma once

#include <posenc/config/gguf/architecture_table.hpp>
#include <posenc/config/gguf/keys.hpp>
#include <posenc/config/model.hpp>
#include <posenc/gguf/dequantise.hpp>

#include <sstream>

POSENC_NAMESPACE_BEGIN
namespace gguf {

inline constexpr Index most_tokens = Index{1} << 40;

struct Options {
  LongRoPESelection long_rope =
      LongRoPESelection::by_length;  ///< which list of rope_factors applies
};

class RopeReader {
 public:
  RopeReader(const Keys& keys, const Architecture& architecture, const Options& options,
             Problems& problems)
      : keys_(keys), architecture_(architecture), options_(options), problems_(problems) {}

  /// The rotation of layers that see everything, or of all.
  [[nodiscard]] config::Rotation read(config::LayerKind& layer) {
    config::Rotation rotation = plain(layer.head_dim, "rope.freq_base", 10000);
    const std::size_t before = problems_.sentences().size();
    layer.notes.push_back("base " + shown(rotation.base) + " from " +
                          (keys_.has("rope.freq_base") ? keys_.path("rope.freq_base") + "."
                                                       : "llama.cpp's default."));
    read_axes(rotation);
    read_scheme(rotation, layer);
    if (problems_.sentences().size() == before) rotation.check(problems_);
    return rotation;
  }

  /// The rotation of sliding layers, which in some architectures knows no scheme, or has a base of its own.
  [[nodiscard]] config::Rotation read_sliding(config::LayerKind& layer) {
    if (architecture_.facts.local == config::LocalRope::same) return read(layer);
    const bool own = architecture_.facts.local == config::LocalRope::own_base;
    config::Rotation rotation = own ? plain(layer.head_dim, "rope.freq_base_swa", 10000)
                                    : plain(layer.head_dim, "rope.freq_base", 10000);
    layer.notes.push_back("base " + shown(rotation.base) +
                          ": sliding layers rotate without the scheme.");
    rotation.check(problems_);
    return rotation;
  }

 private:
  [[nodiscard]] static std::string shown(double value) {
    std::ostringstream text;
    text.precision(10);
    text << value;
    return std::move(text).str();
  }

  [[nodiscard]] config::Rotation plain(Index head_dim, std::string_view base_key, double base) {
    config::Rotation rotation;
    rotation.layout = architecture_.facts.layout, rotation.head_dim = head_dim;
    rotation.rotary_dim = keys_.integer("rope.dimension_count", 2, head_dim).value_or(head_dim);
    if (architecture_.latent) rotation.rotary_offset = head_dim - rotation.rotary_dim;
    rotation.base = keys_.number(base_key, 1.000001, 1e30).value_or(base);
    rotation.type = "default";
    rotation.trained_context = keys_.integer("context_length", 1, most_tokens).value_or(0);
    return rotation;
  }

  void read_axes(config::Rotation& rotation) {
    if (architecture_.facts.axes == config::AxesRule::by_file) return;
    const std::vector<Index> sections =
        keys_.integers("rope.dimension_sections", 4, 0, rotation.rotary_dim);
    if (sections.size() != 4)
      return problems_.add(keys_.path("rope.dimension_sections"),
                           " must have four numbers: pairs of time, height, width and none.");
    rotation.axes.rule = MRoPE{{sections[0], sections[1], sections[2]},
                               architecture_.facts.axes == config::AxesRule::turns};
    problems_.require(sections[3] == 0, keys_.path("rope.dimension_sections"),
                      " has a fourth section of ", sections[3],
                      " pairs, which posenc has no coordinate for.");
  }

  void read_scheme(config::Rotation& rotation, config::LayerKind& layer) {
    const char* const named =
        keys_.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    rotation.factor = keys_.number(named, 0, 1e9).value_or(1);
    if (rotation.factor == 0) rotation.factor = 1;
    rotation.trained_context = keys_.integer("rope.scaling.original_context_length", 1, most_tokens)
                                   .value_or(rotation.trained_context);
    const double amplitude = keys_.number("rope.scaling.attn_factor", 1e-6, 1e6).value_or(1);
    static_cast<void>(
        keys_.has("rope.scaling.finetuned"));  // llama.cpp passes it on and reads it nowhere
    std::string type = keys_.text("rope.scaling.type");
    if (type == "none" && rotation.factor != 1) {
      layer.notes.push_back("rope.scaling.type is none, so the factor " + shown(rotation.factor) +
                            " does not count.");
      rotation.factor = 1;
    }
    const bool by_tensor = read_factors(rotation, amplitude, layer);
    if (by_tensor) {
      problems_.require(rotation.factor == 1 && type != "yarn", keys_.path("rope.scaling.type"),
                        " = \"", type, "\" with factor ", rotation.factor,
                        " beside a tensor of rotary factors is not supported.");
      return;
    }
    if (type == "yarn") return read_yarn(rotation, amplitude, layer);
    problems_.require(
        type.empty() || type == "none" || type == "linear", keys_.path("rope.scaling.type"), " = ",
        file::in_quotes(type),
        type == "longrope"
            ? " needs the tensors rope_factors_short.weight and rope_factors_long.weight."
            : " is not one of none, linear, yarn and longrope.");
    if (rotation.factor != 1) rotation.type = "linear";
    if (amplitude != 1)
      rotation.scheme = config::Scheme{RescaleFactors{
          std::vector<double>(static_cast<std::size_t>(rotation.rotary_dim / 2), rotation.factor),
          amplitude}};
    else if (rotation.factor != 1)
      rotation.scheme = config::Scheme{PI{rotation.factor}};
  }

  /// The lists that a file has as tensors. False where it has none.
  bool read_factors(config::Rotation& rotation, double amplitude, config::LayerKind& layer) {
    if (const Tensor* freqs = keys_.file().find_tensor("rope_freqs.weight")) {
      const std::vector<double> factors = list_of(*freqs, rotation.rotary_dim / 2);
      if (factors.empty()) return true;
      rotation.type = "factors";
      layer.notes.push_back("a divisor for each pair from the tensor rope_freqs.weight.");
      rotation.scheme = config::Scheme{RescaleFactors{factors, amplitude}};
      return true;
    }
    const Tensor* const of_short = keys_.file().find_tensor("rope_factors_short.weight");
    const Tensor* const of_long = keys_.file().find_tensor("rope_factors_long.weight");
    if (of_short == nullptr && of_long == nullptr) return false;
    problems_.require(
        of_short != nullptr && of_long != nullptr,
        "of the tensors rope_factors_short.weight and rope_factors_long.weight only one is there.");
    if (of_short == nullptr || of_long == nullptr) return true;
    const std::vector<double> shorts = list_of(*of_short, rotation.rotary_dim / 2),
                              longs = list_of(*of_long, rotation.rotary_dim / 2);
    const auto fill = [&]<class L>(L scheme) {
      scheme.short_factor = shorts, scheme.long_factor = longs;
      scheme.original_context = rotation.trained_context;
      scheme.attention_factor = amplitude;
      return scheme;
    };
    rotation.type = "longrope";
    if (options_.long_rope == LongRoPESelection::by_length)
      rotation.scheme = config::LengthScheme{fill(LongRoPE{})};
    else if (options_.long_rope == LongRoPESelection::always_long)
      rotation.scheme = config::Scheme{fill(LongRoPELong{})};
    else
      rotation.scheme = config::Scheme{fill(LongRoPEShort{})};
    return true;
  }

  /// A tensor's numbers, one per pair; empty with a sentence where there are others.
  std::vector<double> list_of(const Tensor& tensor, Index pairs) {
    if (tensor.elements() != pairs) {
      problems_.add("the tensor ", tensor.name, " must have a number for each of the ", pairs,
                    " rotary pairs, got ", tensor.elements(), ".");
      return {};
    }
    const std::vector<float> numbers = dequantise(tensor);
    return {numbers.begin(), numbers.end()};
  }

  void read_yarn(config::Rotation& rotation, double amplitude, config::LayerKind& layer) {
    rotation.type = "yarn";
    YaRN yarn{.factor = rotation.factor, .original_context = rotation.trained_context};
    yarn.beta_fast = keys_.number("rope.scaling.yarn_beta_fast", 1e-6, 1e9).value_or(32);
    yarn.beta_slow = keys_.number("rope.scaling.yarn_beta_slow", 1e-6, 1e9).value_or(1);
    // Below 0: as the type says. What lies between blends by half, which no file asks for.
    const double blend = keys_.number("rope.scaling.yarn_ext_factor", -1e9, 1e9).value_or(-1);
    problems_.require(blend < 0 || blend == 1, keys_.path("rope.scaling.yarn_ext_factor"),
                      " must be 1, or negative for 1, got ", blend, ".");
    const double overwritten = keys_.number("rope.scaling.yarn_attn_factor", -1e9, 1e9).value_or(1);
    problems_.require(overwritten == 1 || overwritten < 0,
                      keys_.path("rope.scaling.yarn_attn_factor"), " = ", overwritten,
                      " is overwritten by llama.cpp: write rope.scaling.attn_factor.");
    const auto log_multiplier = keys_.number("rope.scaling.yarn_log_multiplier", 0, 1e3);
    if (architecture_.latent && log_multiplier.value_or(0) != 0) {
      // The converter writes a tenth of mscale_all_dim, and llama.cpp takes mscale to be the same
      // unless it is 1.
      yarn.temperature_rule = YaRNTemperature::deepseek;
      yarn.mscale_all_dim = *log_multiplier * 10;
      yarn.mscale = yarn.mscale_all_dim;
      // Here A is no amplitude: queries and keys are multiplied by it as a whole.
      if (amplitude != 1)
        layer.score.softmax_scale = layer.score.score_scale(layer.head_dim) * amplitude * amplitude;
    } else {
      problems_.require(log_multiplier.value_or(0) == 0,
                        keys_.path("rope.scaling.yarn_log_multiplier"),
                        " is read for deepseek2 only.");
      yarn.attention_factor = yarn_mscale(yarn.factor) * amplitude;
    }
    layer.notes.push_back("attention factor " + shown(yarn.resolve_temperature().attention_factor) +
                          ".");
    if (!architecture_.yarn_note.empty()) layer.notes.emplace_back(architecture_.yarn_note);
    rotation.scheme = config::Scheme{yarn};
  }

  const Keys& keys_;
  const Architecture& architecture_;
  const Options& options_;
  Problems& problems_;
};

}  // namespace gguf
POSENC_NAMESPACE_END
