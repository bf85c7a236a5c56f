// SPDX-License-Identifier: MIT
//
// ModelReader: the metadata of a GGUF file to a Model, with the meaning that llama.cpp gives to the keys.
//
//   heads      attention.head_count, attention.head_count_kv (a number, or one per layer)
//   head_dim   attention.key_length (latent attention: key_length_mla), else embedding_length / head_count
//   windows    attention.sliding_window tokens, the query's own included, in all layers but the last
//              of each period; the period is attention.sliding_window_pattern (0: all layers slide, a
//              list: one flag a layer), or that of the architecture
//   scale      attention.scale (Granite's), else that of the architecture, else 1/sqrt(head_dim)
#pragma once

#include <posenc/config/gguf/rope.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN
namespace gguf {

class ModelReader {
 public:
  ModelReader(const Keys& keys, std::string_view name, const Architecture& architecture,
              const Options& options, Problems& problems)
      : keys_(keys), architecture_(architecture), options_(options), problems_(problems) {
    model_.model_type = name;
  }

  [[nodiscard]] config::Model read() {
    if (architecture_.facts.kind == config::PositionKind::refused) {
      problems_.add("general.architecture \"", model_.model_type,
                    "\" cannot be expressed: ", architecture_.facts.why, ".");
      return std::move(model_);
    }
    model_.num_layers = keys_.required("block_count", 1, most_layers);
    model_.max_position_embeddings = keys_.integer("context_length", 1, most_tokens).value_or(0);
    read_heads();
    read_window();
    if (problems_.empty()) read_layers();
    note_parts_left_to_caller();
    report_unread();
    return std::move(model_);
  }

 private:
  static constexpr std::size_t most_kinds = 64;
  static constexpr Index most_layers = 1 << 16, most_heads = 1 << 16, widest_head = 1 << 16;

  struct Plan {
    bool slides, rotates;
    Index heads, kv_heads;
    bool operator==(const Plan&) const = default;
  };

  void read_heads() {
    heads_ = keys_.integers("attention.head_count", model_.num_layers, 1, most_heads);
    if (!keys_.has("attention.head_count"))
      problems_.add(keys_.path("attention.head_count"), " is missing.");
    kv_heads_ = keys_.integers("attention.head_count_kv", model_.num_layers, 1, most_heads);
    // Latent attention stores one head of keys, from which those of every query head are made.
    if (kv_heads_.empty() || architecture_.latent) kv_heads_ = heads_;
    if (heads_.empty()) return;
    for (std::size_t i = 0; i < std::max(heads_.size(), kv_heads_.size()); ++i)
      if (of(heads_, i) % of(kv_heads_, i) != 0)
        return problems_.add(of(heads_, i), " query heads cannot share ", of(kv_heads_, i),
                             " key heads.");
    const bool absorbed = architecture_.latent && keys_.has("attention.key_length_mla");
    const auto given = keys_.integer(absorbed ? "attention.key_length_mla" : "attention.key_length",
                                     2, widest_head);
    if (absorbed) static_cast<void>(keys_.has("attention.key_length"));
    const Index width = keys_.integer("embedding_length", 1, most_heads * widest_head).value_or(0);
    problems_.require(given || (heads_.size() == 1 && width > 0 && width % heads_[0] == 0),
                      keys_.path("attention.key_length"), " is missing, and embedding_length (",
                      width, ") is not a multiple of head_count.");
    head_dim_ = given ? *given : width / heads_[0];
    if (architecture_.scale_of_width == model_.num_layers && width > 0)
      scale_ = std::sqrt(static_cast<double>(heads_[0]) / static_cast<double>(width));
  }

  /// How many tokens sliding layers see, and which layers slide.
  void read_window() {
    using Limits = std::numeric_limits<std::int32_t>;
    period_ = architecture_.period;
    if (period_ == 0) return;
    const auto given = keys_.integer("attention.sliding_window", 0, Limits::max());
    problems_.require(given || architecture_.window >= 0, keys_.path("attention.sliding_window"),
                      " is missing.");
    window_ = given.value_or(architecture_.window);
    if (architecture_.facts.chunked &&
        given) {  // llama.cpp has its own chunk, whatever the file says
      problems_.require(
          *given != 0, keys_.path("attention.sliding_window"),
          " must not be 0: of layers that all see everything llama.cpp rotates all but the last.");
      window_ = architecture_.window;
      if (*given != window_)
        model_.notes.push_back(keys_.path("attention.sliding_window") + " = " +
                               std::to_string(*given) + " is overwritten with " +
                               std::to_string(window_) + " by llama.cpp.");
    }
    // The list that newer files have says of each layer whether it slides; a number is the period, and
    // with 0 all slide.
    constexpr std::string_view pattern = "attention.sliding_window_pattern";
    slides_ = keys_.integers(pattern, model_.num_layers, 0, most_layers);
    if (slides_.size() == 1 && !keys_.file().is_array(keys_.path(pattern))) {
      period_ = slides_[0];
      slides_.clear();
      if (period_ == 0) slides_.assign(static_cast<std::size_t>(model_.num_layers), 1);
    }
    if (window_ == 0) period_ = 0, slides_.clear();
  }

  [[nodiscard]] bool slides(Index layer) const {
    if (!slides_.empty()) return slides_[static_cast<std::size_t>(layer)] != 0;
    return period_ > 0 && layer % period_ != period_ - 1;
  }

  [[nodiscard]] bool rotates(Index layer) const {
    using enum config::NoPERule;
    switch (architecture_.facts.nope) {
      case listed:
        return (layer + 1) % architecture_.unrotated_every != 0;
      case full_layers:
        return window_ == 0 || slides(layer);
      case unless_rope:  // Granite: a switch that says of others how they were trained
        return keys_.boolean("rope.scaling.finetuned").value_or(true);
      default:
        return true;
    }
  }

  void read_layers() {
    std::vector<Plan> kinds;
    for (Index layer = 0; layer < model_.num_layers; ++layer) {
      const auto at = static_cast<std::size_t>(layer);
      const Plan plan{slides(layer), rotates(layer), of(heads_, at), of(kv_heads_, at)};
      const auto known = std::find(kinds.begin(), kinds.end(), plan);
      const auto kind = static_cast<std::size_t>(known - kinds.begin());
      if (known == kinds.end()) {
        if (kinds.size() == most_kinds)
          return problems_.add("the ", model_.num_layers, " layers are of more than ", most_kinds,
                               " kinds, which no model has.");
        kinds.push_back(plan);
        model_.layers.push_back(read_kind(plan));
        if (!problems_.empty()) return;
      }
      model_.layers[kind].layers.push_back(layer);
    }
  }

  [[nodiscard]] config::LayerKind read_kind(const Plan& plan) {
    const config::Architecture& facts = architecture_.facts;
    config::LayerKind layer;
    layer.num_heads = plan.heads, layer.num_kv_heads = plan.kv_heads, layer.head_dim = head_dim_;
    layer.name =
        plan.slides ? facts.chunked ? "chunked_attention" : "sliding_attention" : "full_attention";
    if (plan.slides) (facts.chunked ? layer.chunk : layer.window) = window_;
    const bool both = facts.mask == config::MaskRule::bidirectional ||
                      !keys_.boolean("attention.causal").value_or(true);
    if (both) {
      const Position side = facts.half_window ? layer.window / 2 : layer.window;
      layer.ahead = plan.slides ? side : config::LayerKind::everything;
      layer.window = plan.slides ? side + 1 : 0;
    }
    layer.score.softmax_scale = facts.scale == config::ScaleRule::one ? 1 : scale_;
    if (facts.scale == config::ScaleRule::attention_multiplier)
      if (const auto scale = keys_.number("attention.scale", 0, 1e6); scale && *scale != 0)
        layer.score.softmax_scale = *scale;
    switch (kind_of_positions(plan)) {
      case config::PositionKind::rotary:
        if (plan.rotates) {
          RopeReader rope(keys_, architecture_, options_, problems_);
          layer.rotary = plan.slides ? rope.read_sliding(layer) : rope.read(layer);
        } else {
          layer.name = "no_rope";
        }
        break;
      case config::PositionKind::alibi:
        layer.alibi = ALiBi{.max_bias = alibi_};
        break;
      default:
        layer.notes.push_back(
            "positions are a learned table that is added to the embeddings (LearnedAbsolute); "
            "attention adds nothing.");
    }
    if (!plan.rotates && facts.chunked) layer.score.rule = StepTemperature{0.1, 8192, 1};
    return layer;
  }

  [[nodiscard]] config::PositionKind kind_of_positions(const Plan& plan) {
    using enum config::PositionKind;
    const config::PositionKind kind = architecture_.facts.kind;
    if (kind == baichuan) {
      problems_.require(plan.heads == 32 || plan.heads == 40, keys_.path("attention.head_count"),
                        " = ", plan.heads,
                        ": Baichuan rotates with 32 heads (7B) and has ALiBi with 40 (13B).");
      return plan.heads == 40 ? alibi : rotary;
    }
    if (kind != mpt) return kind;
    alibi_ = keys_.number("attention.max_alibi_bias", 0, 1024).value_or(0);
    return alibi_ > 0 ? alibi : learned;
  }

  void note_parts_left_to_caller() {
    if (const double cap =
            keys_.number("attn_logit_softcapping", 0, 1e6).value_or(architecture_.soft_cap);
        cap > 0)
      model_.notes.push_back(file::sentence("append SoftCap{", cap, "}: attn_logit_softcapping."));
    if (!architecture_.facts.note.empty()) model_.notes.emplace_back(architecture_.facts.note);
  }

  /// Keys of the rotation that nobody reads are wrong; of the rest llama.cpp reads none for this
  /// architecture.
  void report_unread() {
    if (!problems_.empty()) return;
    const bool rotates =
        std::any_of(model_.layers.begin(), model_.layers.end(),
                    [](const config::LayerKind& kind) { return kind.rotary.has_value(); });
    for (const std::string& key : keys_.unread({"rope."}))
      if (rotates)
        problems_.add(file::in_quotes(key),
                      " is not a key that posenc reads for this architecture.");
      else
        model_.notes.push_back("ignored: " + file::in_quotes(key) + ", since no layer rotates.");
    for (const std::string& key :
         keys_.unread({"sliding_window", "attention.temperature", "attention.scale",
                       "max_alibi_bias", "key_length", "indexer"}))
      model_.notes.push_back("ignored: " + file::in_quotes(key) +
                             ", which llama.cpp does not read for this architecture.");
  }

  /// Of a list with one number for all layers, or one for each.
  [[nodiscard]] static Index of(const std::vector<Index>& list, std::size_t layer) {
    return list.size() == 1 ? list[0] : list[layer];
  }

  const Keys& keys_;
  const Architecture& architecture_;
  const Options& options_;
  Problems& problems_;
  config::Model model_{};
  std::vector<Index> heads_{}, kv_heads_{}, slides_{};
  Index head_dim_ = 0, period_ = 0;
  Position window_ = 0;
  double scale_ = 0, alibi_ = 8;
};

}  // namespace gguf
POSENC_NAMESPACE_END
