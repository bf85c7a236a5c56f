// SPDX-License-Identifier: MIT
//
// LayerPlanner: which layers attend how, and which of them rotate.
//
//   kind of attention   layer_types; else sliding_window by the rule of the architecture (every
//                       layer; all but every n-th, n = sliding_window_pattern; with
//                       use_sliding_window, from max_window_layers on), else full
//   rotation            no_rope_layers (1 rotates, 0 does not); else, by the architecture, not
//                       every no_rope_layer_interval-th layer, or only where attention slides
//
// A sliding_window of w means w tokens, the query's own included.
#pragma once

#include <posenc/config/architectures.hpp>
#include <posenc/config/huggingface/fields.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

struct LayerPlan {
  std::string type = "full_attention";  ///< as in layer_types
  bool rotates = true;

  friend bool operator==(const LayerPlan&, const LayerPlan&) = default;
  [[nodiscard]] std::string name() const {
    if (rotates) return type;
    return type == "full_attention" ? "no_rope" : type + "_no_rope";
  }
};

[[nodiscard]] inline bool is_attention(std::string_view layer_type) {
  return layer_type == "full_attention" || layer_type == "sliding_attention" ||
         layer_type == "chunked_attention";
}
[[nodiscard]] inline bool is_layer_type(std::string_view name) {
  return is_attention(name) || name == "linear_attention" || name == "conv" || name == "mamba";
}

template <class Json>
class LayerPlanner {
 public:
  LayerPlanner(const Fields<Json>& file, const config::Architecture& architecture,
               std::vector<std::string>& notes, Problems& problems)
      : file_(file), architecture_(architecture), notes_(notes), problems_(problems) {}

  /// One entry per layer; one entry in all, and `uniform`, when the file does not say how many
  /// there are.
  [[nodiscard]] std::vector<LayerPlan> plan() {
    read_window();
    chunk_ = architecture_.chunk;
    if (file_.mentions("attention_chunk_size"))
      chunk_ = file_.integer("attention_chunk_size").value_or(0);
    auto types = file_.texts("layer_types");
    if (types && types->empty()) types.reset();
    const auto count = file_.integer({"num_hidden_layers", "n_layer", "n_layers", "num_layers"});
    if (count && (*count <= 0 || *count > most_layers)) {
      problems_.add("num_hidden_layers must be between 1 and ", most_layers, ", got ", *count, ".");
      return {};
    }
    problems_.require(!types || !count || std::ssize(*types) == *count, "layer_types has ",
                      types ? types->size() : 0, " entries, but num_hidden_layers is ",
                      count.value_or(0), ".");
    const Index layers = types ? std::ssize(*types) : count.value_or(0);
    uniform_ = layers <= 0;
    if (!types && uniform_ && (varies() || file_.mentions("no_rope_layers")))
      problems_.add("num_hidden_layers is missing, and the layers are not all alike.");
    std::vector<LayerPlan> plans(uniform_ ? 1 : static_cast<std::size_t>(layers));
    plan_rotation(plans);
    if (types)
      copy_types(*types, plans);
    else
      derive_types(plans);
    if (architecture_.nope == config::NoPERule::full_layers && window_ > 0)
      for (LayerPlan& plan : plans) plan.rotates = plan.type == "sliding_attention";
    return plans;
  }

  [[nodiscard]] bool uniform() const { return uniform_; }
  [[nodiscard]] Position window() const { return window_; }  ///< tokens; 0: none
  [[nodiscard]] Position chunk() const { return chunk_; }

 private:
  void read_window() {
    const auto window = file_.integer("sliding_window");
    window_ = window.value_or(file_.mentions("sliding_window") ? 0 : architecture_.window);
    problems_.require(!window || *window > 0, "sliding_window must be positive, got ", window_,
                      ".");
    if (!window && window_ > 0)
      notes_.push_back(sentence("sliding_window is absent: the model's code takes ", window_, "."));
    const bool off_by_default = architecture_.windows == config::WindowRule::qwen;
    if (!file_.boolean("use_sliding_window").value_or(!off_by_default)) {
      if (window_ > 0)
        notes_.push_back(
            sentence("sliding_window = ", window_, " is off: use_sliding_window is not true."));
      window_ = 0;
    }
  }

  [[nodiscard]] bool varies() const {
    const auto rule = architecture_.windows;
    return architecture_.linear_hybrid || architecture_.nope == config::NoPERule::listed ||
           (window_ > 0 &&
            (rule == config::WindowRule::pattern || rule == config::WindowRule::qwen));
  }

  void copy_types(const std::vector<std::string>& types, std::vector<LayerPlan>& plans) {
    for (std::size_t layer = 0; layer < plans.size(); ++layer) {
      plans[layer].type = types[layer];
      problems_.require(
          is_layer_type(types[layer]), "layer_types[", layer, "] = \"", types[layer],
          "\" is not a kind of layer that posenc knows: full_attention, sliding_attention, "
          "chunked_attention, linear_attention, conv, mamba.");
      problems_.require(types[layer] != "sliding_attention" || window_ > 0, "layer_types[", layer,
                        "] is sliding_attention, but there is no sliding_window.");
      problems_.require(types[layer] != "chunked_attention" || chunk_ > 0, "layer_types[", layer,
                        "] is chunked_attention, but there is no attention_chunk_size.");
      if (!problems_.empty()) return;  // one example is enough
    }
  }

  void derive_types(std::vector<LayerPlan>& plans) {
    if (window_ > 0 && architecture_.windows == config::WindowRule::ignored)
      notes_.push_back(sentence("ignored: sliding_window = ", window_, ", which the code of ",
                                architecture_.model_type, " does not read."));
    problems_.require(
        window_ == 0 || architecture_.windows != config::WindowRule::unknown,
        "sliding_window = ", window_,
        ", but which layers slide is not known for this model_type: add layer_types.");
    const std::string period = full_period();
    const auto first_window = file_.integer("max_window_layers");
    if (window_ > 0 && architecture_.windows == config::WindowRule::qwen)
      problems_.require(first_window.has_value(),
                        "use_sliding_window needs max_window_layers, which is missing.");
    for (std::size_t layer = 0; layer < plans.size(); ++layer) {
      const bool full = period.empty() || period[layer % period.size()] == 'G';
      std::string& type = plans[layer].type;
      if (architecture_.linear_hybrid) {
        if (!full) type = "linear_attention";
      } else if (window_ > 0) {
        const auto rule = architecture_.windows;
        if (rule == config::WindowRule::every || (rule == config::WindowRule::pattern && !full) ||
            (rule == config::WindowRule::qwen &&
             static_cast<Index>(layer) >= first_window.value_or(0)))
          type = "sliding_attention";
      }
      if (chunk_ > 0 && architecture_.chunk > 0 && plans[layer].rotates) type = "chunked_attention";
    }
    if (architecture_.last_full) plans.back().type = "full_attention";
  }

  /// One letter per layer of a period: G sees everything, L does not. "LLLG" is every fourth.
  std::string full_period() {
    const char* key = architecture_.linear_hybrid                ? "full_attention_interval"
                      : file_.mentions("sliding_window_pattern") ? "sliding_window_pattern"
                                                                 : "_sliding_window_pattern";
    const Json* value = file_.find(key);
    if (value != nullptr && value->is_string()) return value->template get<std::string>();
    const Index every =
        value == nullptr ? architecture_.pattern : file_.integer(std::string(key)).value_or(0);
    problems_.require(every >= 0 && every <= most_layers, key, " must be between 1 and ",
                      most_layers, ", got ", every, ".");
    if (every <= 0 || every > most_layers) return "";
    return std::string(static_cast<std::size_t>(every - 1), 'L') + "G";
  }

  void plan_rotation(std::vector<LayerPlan>& plans) {
    const auto listed = file_.numbers("no_rope_layers");
    const auto interval = file_.integer("no_rope_layer_interval");
    problems_.require(!interval || *interval > 0, "no_rope_layer_interval must be positive, got ",
                      interval.value_or(1), ".");
    if (listed && !listed->empty()) {
      problems_.require(listed->size() == plans.size(), "no_rope_layers has ", listed->size(),
                        " entries for ", plans.size(), " layers.");
      for (std::size_t layer = 0; layer < std::min(plans.size(), listed->size()); ++layer)
        plans[layer].rotates = (*listed)[layer] != 0;
      return;
    }
    if (!interval && architecture_.nope != config::NoPERule::listed) return;
    const auto every =
        static_cast<std::size_t>(std::max<Index>(1, interval.value_or(architecture_.pattern)));
    for (std::size_t layer = 0; layer < plans.size(); ++layer)
      plans[layer].rotates = (layer + 1) % every != 0;
  }

  const Fields<Json>& file_;
  const config::Architecture& architecture_;
  std::vector<std::string>& notes_;
  Problems& problems_;
  Position window_ = 0;
  Position chunk_ = 0;
  bool uniform_ = false;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
