// SPDX-License-Identifier: MIT
//
// LayerPlanner: which layers attend how, and which of them rotate.
//
//   kind of layer   the keys of layer_types.hpp; else the window by the rule of the architecture
//                   (every layer; all but every n-th; with use_sliding_window, from
//                   max_window_layers on); else the layers of Hugging Face's class; else full
//   rotation        no_rope_layers (1 rotates, 0 does not); else by the rule of the architecture
//
// A sliding_window of w means w tokens, the query's own included; in models that see both ways, w
// tokens to either side.
#pragma once

#include <posenc/config/architectures.hpp>
#include <posenc/config/huggingface/layer_types.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
class LayerPlanner {
 public:
  LayerPlanner(const Fields<Json>& file, const config::Architecture& architecture,
               std::string_view model_type, std::vector<std::string>& notes, Problems& problems)
      : file_(file), architecture_(architecture), model_type_(model_type), notes_(notes),
        problems_(problems) {}

  /// One entry per layer; one entry in all, and `uniform`, when the file does not say how many
  /// there are. Nothing after a problem.
  [[nodiscard]] std::vector<LayerPlan> plan() {
    const std::size_t before = problems_.sentences().size();
    read_window();
    if (architecture_.chunked)
      chunk_ = file_.integer("attention_chunk_size", 1, most_tokens).value_or(0);
    const std::string count_key = file_.key_of(spellings::layers);
    const auto count = file_.integer(count_key, 1, most_layers);
    LayerTypeReader<Json> reader(file_, architecture_.lead, problems_);
    auto types = reader.read(count.value_or(0));
    const bool is_listed = !types.empty();
    problems_.require(!is_listed || !count || std::ssize(types) == *count ||
                          file_.peek(count_key) == nullptr ||
                          problems_.sentences().size() != before,
                      reader.source(), " has ", types.size(), " entries, but ", count_key, " is ",
                      count.value_or(0), ".");
    // The list, or the missing window, has the answer.
    if (is_listed || (architecture_.windows == config::WindowRule::pattern && window_ == 0))
      for (const char* key :
           {"sliding_window_pattern", "_sliding_window_pattern", "global_attn_every_n_layers",
            "full_attention_interval", "max_window_layers"})
        file_.mark_used(key);
    if (window_ == 0 && (file_.mentions("sliding_window") || file_.mentions("use_sliding_window")))
      file_.mark_used("max_window_layers");
    if (problems_.sentences().size() != before) return {};
    const Index layers = is_listed ? std::ssize(types) : count.value_or(0);
    uniform_ = layers <= 0;
    if (uniform_ && (varies() || file_.peek("no_rope_layers") != nullptr))
      problems_.add(count_key, " is missing, and the layers are not all alike.");
    std::vector<LayerPlan> plans(uniform_ ? 1 : static_cast<std::size_t>(layers));
    plan_rotation(plans);
    if (!is_listed) types = derive_types(plans);
    for (std::size_t i = 0; i < std::min(plans.size(), types.size()); ++i) plans[i].type = types[i];
    if (architecture_.last_full && !is_listed) plans.back().type = "full_attention";
    slide_everywhere(plans);
    slide_nowhere(plans);
    check_types(plans);
    finish_rotation(plans);
    if (problems_.sentences().size() != before) plans.clear();
    return plans;
  }

  [[nodiscard]] bool uniform() const { return uniform_; }
  [[nodiscard]] Position window() const { return window_; }  ///< tokens; 0: none
  [[nodiscard]] Position chunk() const { return chunk_; }

 private:
  [[nodiscard]] bool needs_flag() const {
    using enum config::WindowRule;
    const auto rule = architecture_.windows;
    return rule == every_if_on || rule == from_layer || rule == even_before || rule == without_rope;
  }

  void read_window() {
    using enum config::WindowRule;
    const std::string key = architecture_.half_window && file_.peek("sliding_window") == nullptr
                                ? "local_attention"
                                : file_.key_of(spellings::windows);
    const bool is_on = needs_flag() ? file_.flag("use_sliding_window")
                       : architecture_.windows == unknown
                           ? file_.boolean("use_sliding_window").value_or(true)
                           : true;
    if (architecture_.windows == ignored &&
        (!architecture_.hybrid || file_.peek("layer_types") == nullptr)) {
      if (const Json* window = file_.peek(key))
        notes_.push_back(sentence("ignored: ", key, " = ", file::echo(*window),
                                  ", which the code of ", model_type_, " does not read."));
      return;
    }
    if (!is_on) {
      if (const Json* window = file_.find(key); window != nullptr && *window != 0)
        notes_.push_back(
            sentence(key, " = ", file::echo(*window), " is off: use_sliding_window is not true."));
      return;
    }
    window_ = file_.integer(key, 1, most_tokens).value_or(0);
    if (architecture_.half_window && key == "local_attention") window_ /= 2;
    if (file_.is_bad(key)) window_ = 1;  // said already; layers may slide
  }

  [[nodiscard]] bool varies() const {
    using enum config::WindowRule;
    const auto rule = architecture_.windows;
    return architecture_.hybrid || architecture_.nope == config::NoPERule::listed ||
           (window_ > 0 && rule != every && rule != every_by_default && rule != every_if_on &&
            rule != ignored && rule != unknown);
  }

  std::vector<std::string> derive_types(const std::vector<LayerPlan>& plans) {
    using enum config::WindowRule;
    const auto rule = architecture_.windows;
    std::vector<std::string> types(plans.size(), "full_attention");
    if (chunk_ > 0)
      for (std::size_t i = 0; i < plans.size(); ++i)
        if (plans[i].rotates) types[i] = "chunked_attention";
    if (rule == unknown && !architecture_.hybrid) return without_rule(types);
    if (rule == pattern || architecture_.hybrid) return by_pattern(types);
    if (window_ == 0 || rule == ignored) return types;
    Index limit = 0;
    if (rule == from_layer || rule == even_before) {
      limit = file_.integer("max_window_layers", 0, most_layers).value_or(0);
      if (!file_.has("max_window_layers"))
        problems_.add("use_sliding_window needs max_window_layers, which is missing.");
    }
    for (std::size_t i = 0; i < types.size(); ++i) {
      const auto layer = static_cast<Index>(i);
      if (rule == every || rule == every_by_default || rule == every_if_on ||
          (rule == from_layer && layer >= limit) ||
          (rule == even_before && layer % 2 == 0 && layer < limit) ||
          (rule == without_rope && !plans[i].rotates))
        types[i] = "sliding_attention";
    }
    return types;
  }

  /// Nobody knows which layers a window is for, unless it is as wide as all positions.
  std::vector<std::string> without_rule(std::vector<std::string> types) {
    const Json* positions = file_.peek(file_.key_of(spellings::positions));
    const Index most = positions == nullptr ? 0 : Fields<Json>::as_integer(*positions).value_or(0);
    if (window_ > 0 && most > 0 && window_ >= most)
      notes_.push_back(sentence("a window of ", window_, " tokens never bites: there are ", most,
                                " positions."));
    else if (window_ > 0)
      problems_.add(file_.key_of(spellings::windows), " = ", window_,
                    ", but which layers slide is not known for this model_type: add layer_types.");
    return types;
  }

  /// A period of full and other layers: of the file, else of Hugging Face's class.
  std::vector<std::string> by_pattern(std::vector<std::string> types) {
    const bool is_linear = architecture_.linear_pattern;
    if (!architecture_.hybrid && window_ == 0) return types;
    const std::string key =
        is_linear ? "full_attention_interval" : std::string(architecture_.pattern_key);
    const char* other = is_linear ? "linear_attention" : "sliding_attention";
    const Json* value = key.empty() ? nullptr : file_.peek(key);
    if (value == nullptr) {
      // Of the class only: no file has such a key.
      const Json* letters = file_.class_value("default_layers");
      auto known = LayerTypeReader<Json>::expand(
          letters == nullptr ? "" : letters->template get<std::string>(), std::ssize(types));
      if (known.empty())
        problems_.add(is_linear ? "full_attention_interval" : "layer_types",
                      " is missing, and which of the ", types.size(), " layers of ", model_type_,
                      " attend how is not known.");
      return known;
    }
    if (value->is_string()) return by_letters(key, types, other);
    const auto every = file_.integer(key, 1, most_layers);
    if (!every) return {};
    for (std::size_t i = 0; i < types.size(); ++i) {
      const Index at = static_cast<Index>(i) + (architecture_.first_full ? 0 : 1);
      if (at % *every != 0) types[i] = other;
    }
    return types;
  }

  /// "LLLG": G sees everything, L does not.
  std::vector<std::string> by_letters(const std::string& key, std::vector<std::string> types,
                                      const char* other) {
    const std::string period = file_.text(key).value_or("");
    if (period.empty() || period.find_first_not_of("LG") != std::string::npos) {
      problems_.add(key, " must be a number or letters L (local) and G (global), got \"",
                    file::shorten(period), "\".");
      return {};
    }
    for (std::size_t i = 0; i < types.size(); ++i)
      if (period[i % period.size()] == 'L') types[i] = other;
    return types;
  }

  /// A code with one window for all of its attention does not read a list.
  void slide_everywhere(std::vector<LayerPlan>& plans) {
    using enum config::WindowRule;
    if (window_ == 0 || (architecture_.windows != every && architecture_.windows != every_if_on))
      return;
    Index moved = 0;
    for (LayerPlan& plan : plans)
      if (plan.type == "full_attention") plan.type = "sliding_attention", ++moved;
    if (moved > 0 && file_.peek("layer_types") != nullptr)
      notes_.push_back(sentence("layer_types lists ", moved,
                                " layers of full_attention, but the code of ", model_type_,
                                " has the window in every layer."));
  }

  /// A code with one mask for all layers does not read a list either.
  void slide_nowhere(std::vector<LayerPlan>& plans) {
    if (architecture_.windows != config::WindowRule::ignored || architecture_.hybrid) return;
    Index moved = 0;
    for (LayerPlan& plan : plans)
      if (plan.slides() || (plan.type == "chunked_attention" && !architecture_.chunked))
        plan.type = "full_attention", ++moved;
    if (moved > 0)
      notes_.push_back(sentence("ignored: layer_types lists ", moved,
                                " layers that do not see everything, which the code of ",
                                model_type_, " does not read."));
  }

  void check_types(const std::vector<LayerPlan>& plans) {
    for (std::size_t layer = 0; layer < plans.size(); ++layer) {
      const LayerPlan& plan = plans[layer];
      if (plan.slides() && window_ <= 0)
        return problems_.add("layer ", layer, " is ", plan.type,
                             ", but there is no sliding_window that is on.");
      if (plan.type == "chunked_attention" && chunk_ <= 0)
        chunk_ = file_.integer("attention_chunk_size", 1, most_tokens).value_or(0);
      if (plan.type == "chunked_attention" && chunk_ <= 0)
        return problems_.add("layer ", layer,
                             " is chunked_attention, but there is no attention_chunk_size.");
    }
  }

  void plan_rotation(std::vector<LayerPlan>& plans) {
    const bool reads = architecture_.nope == config::NoPERule::listed ||
                       architecture_.windows == config::WindowRule::unknown;
    if (!reads) return;
    const Json* listed = file_.peek("no_rope_layers");
    if (listed != nullptr && !(listed->is_array() && listed->empty())) {
      const auto flags = file_.numbers("no_rope_layers");
      if (!flags) return;
      problems_.require(flags->size() == plans.size(), "no_rope_layers has ", flags->size(),
                        " entries for ", plans.size(), " layers.");
      for (std::size_t layer = 0; layer < std::min(plans.size(), flags->size()); ++layer)
        plans[layer].rotates = (*flags)[layer] != 0;
      return;
    }
    const auto every = file_.integer("no_rope_layer_interval", 1, most_layers);
    if (every)
      for (std::size_t layer = 0; layer < plans.size(); ++layer)
        plans[layer].rotates = (static_cast<Index>(layer) + 1) % *every != 0;
  }

  void finish_rotation(std::vector<LayerPlan>& plans) {
    using enum config::NoPERule;
    const auto rule = architecture_.nope;
    if (rule == mla_use_nope)
      problems_.require(file_.boolean("mla_use_nope").value_or(true),
                        "mla_use_nope = false is not supported: no code of ", model_type_,
                        " rotates.");
    const bool none =
        rule == always || rule == mla_use_nope ||
        (rule == unless_rope && file_.text("position_embedding_type").value_or("") != "rope");
    for (LayerPlan& plan : plans) {
      if (none) plan.rotates = false;
      if (rule == full_layers || (rule == full_layers_if_window && window_ > 0))
        plan.rotates = plan.slides();
      if (!plan.attends()) plan.rotates = false;
    }
  }

  const Fields<Json>& file_;
  const config::Architecture& architecture_;
  std::string_view model_type_;
  std::vector<std::string>& notes_;
  Problems& problems_;
  Position window_ = 0;
  Position chunk_ = 0;
  bool uniform_ = false;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
