// SPDX-License-Identifier: MIT
//
// LengthReader: the factor of a scheme and the lengths that it stands between.
//
//   original context   original_max_position_embeddings of the file, else of the dictionary (for
//                      the dictionary of one layer type the other way round), else
//                      max_position_embeddings
//   factor             as given; where it may be left out, max_position_embeddings over original
//                      context
//
// Lengths contradict each other where max_position_embeddings is beyond factor * original context
// (positions are promised that the scaling does not reach), and where the original context is
// beyond max_position_embeddings. In between is common and fine: files keep the unextended length
// when a scheme was added afterwards (Qwen2.5: 32,768 with factor 4; Qwen3: 40,960). This concerns
// linear, yarn and longrope; the factor of llama3 is no ratio of lengths (Llama 3.1: 8, with
// lengths 16 apart).
#pragma once

#include <posenc/config/huggingface/fields.hpp>
#include <posenc/config/model.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

/// The longest position that a file promises; 0: it does not say.
template <class Json>
[[nodiscard]] Position max_positions(const Fields<Json>& file) {
  std::string key = file.spelling(spellings::positions);
  if (key.empty())
    for (const char* other : spellings::lengths)
      if (key.empty() && file.peek(other) != nullptr) key = other;
  if (key.empty()) key = file.key_of(spellings::positions);
  // A tokenizer's length may be "as long as you like".
  const Json* value = file.find(key);
  if (key == "model_max_length" && value != nullptr && value->is_number() && *value > 1e12)
    return 0;
  return file.integer(key, 1, most_tokens).value_or(0);
}

template <class Json>
class LengthReader {
 public:
  LengthReader(const Fields<Json>& file, const Fields<Json>& dict, bool per_layer,
               Problems& problems)
      : file_(file), dict_(dict), per_layer_(per_layer), max_(max_positions(file)),
        problems_(problems) {}

  static constexpr const char* original_key = "original_max_position_embeddings";

  [[nodiscard]] Position max() const { return max_; }
  [[nodiscard]] bool is_bad() const { return file_.is_bad(file_.key_of(spellings::positions)); }
  [[nodiscard]] bool has_original() const {
    return dict_.find(original_key) != nullptr || file_.find(original_key) != nullptr;
  }

  /// A number that the scheme cannot do without.
  double required(const std::string& type, const char* key) {
    const auto value = dict_.number(key);
    problems_.require(dict_.find(key) != nullptr, "rope_type \"", type, "\" needs ",
                      dict_.path(key), ", which is missing.");
    return value.value_or(1);
  }

  double read_factor(const std::string& type) {
    const double factor = required(type, "factor");
    check_factor(factor);
    return factor;
  }

  void check_factor(double factor) {
    problems_.require(factor >= 1, dict_.path("factor"), " must be at least 1, got ", factor, ".");
    problems_.require(factor <= greatest_factor, dict_.path("factor"), " must be at most ",
                      greatest_factor, ", got ", factor, ".");
  }

  /// `factor`, or the ratio of the lengths; `must_mention`: then the key must be there and be null.
  void read_factor_or_ratio(config::Rotation& rotation, config::LayerKind& layer,
                            bool must_mention) {
    const Position original = rotation.trained_context = read_original(layer);
    const auto factor = dict_.number("factor");
    if (factor) {
      rotation.factor = *factor;
      check_factor(*factor);
      compare_lengths(rotation, layer);
      return;
    }
    if (must_mention && !dict_.mentions("factor"))
      problems_.add(
          "rope_type \"", rotation.type, "\" needs ", dict_.path("factor"),
          ", which is missing (null means max_position_embeddings over the original context).");
    if (max_ == 0 || original == 0) return;
    rotation.factor = static_cast<double>(max_) / static_cast<double>(original);
    problems_.require(rotation.factor >= 1, "max_position_embeddings = ", max_, " contradicts ",
                      original_key, " = ", original, ": the extended length is the shorter one.");
    layer.notes.push_back(sentence("factor ", rotation.factor, ": max_position_embeddings ", max_,
                                   " over the original context ", original, "."));
  }

  Position read_original(config::LayerKind& layer) {
    const auto in_dict = dict_.integer(original_key, 1, most_tokens),
               in_file = file_.integer(original_key, 1, most_tokens);
    const bool dict_wins = per_layer_ ? in_dict.has_value() : !in_file;
    const auto chosen = dict_wins ? in_dict : in_file;
    if (in_dict && in_file && *in_dict != *in_file)
      layer.notes.push_back(sentence(
          "original context ", *chosen, ": ", dict_wins ? dict_.path(original_key) : original_key,
          " wins over ", dict_wins ? original_key : dict_.path(original_key), " = ",
          dict_wins ? *in_file : *in_dict, "."));
    if (chosen) return *chosen;
    if (dict_.is_bad(original_key) || file_.is_bad(original_key) || is_bad()) return 0;
    if (max_ == 0) {
      problems_.add("neither ", dict_.path(original_key), " nor max_position_embeddings is given.");
      return 0;
    }
    layer.notes.push_back(sentence("original context ", max_, ": ", original_key,
                                   " is absent, and max_position_embeddings stands for it."));
    return max_;
  }

  /// The check that is described above.
  void compare_lengths(const config::Rotation& rotation, config::LayerKind& layer) {
    const double max = static_cast<double>(max_),
                 trained = static_cast<double>(rotation.trained_context);
    const double reach = rotation.factor * trained;
    if (max == 0 || trained <= 0 || !(rotation.factor >= 1)) return;
    problems_.require(max <= reach * (1 + 1e-6), dict_.path("factor"), " = ", rotation.factor,
                      " contradicts max_position_embeddings = ", max, " over ", original_key, " = ",
                      trained, ", which is ", max / trained, ": the scaling reaches ", reach,
                      " positions only.");
    problems_.require(max >= trained, "max_position_embeddings = ", max, " contradicts ",
                      original_key, " = ", trained, ": the extended length is the shorter one.");
    if (max < reach * (1 - 1e-6))
      layer.notes.push_back(sentence("max_position_embeddings = ", max, " is less than the ", reach,
                                     " positions that the scaling reaches."));
  }

 private:
  const Fields<Json>& file_;
  const Fields<Json>& dict_;
  bool per_layer_;
  Position max_;
  Problems& problems_;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
