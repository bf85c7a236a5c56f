// SPDX-License-Identifier: MIT
//
// ScaleReader: the number that scores are multiplied by before the softmax, where it is not
// 1/sqrt(head_dim).
#pragma once

#include <posenc/config/huggingface/fields.hpp>
#include <posenc/config/model.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
class ScaleReader {
 public:
  ScaleReader(const Fields<Json>& file, const config::Architecture& architecture, bool is_known,
              Problems& problems)
      : file_(file), architecture_(architecture), is_known_(is_known), problems_(problems) {}

  /// 0: 1/sqrt(head_dim).
  [[nodiscard]] double read(const config::LayerKind& layer) {
    using enum config::ScaleRule;
    auto rule = architecture_.scale;
    if (!is_known_ && file_.peek("query_pre_attn_scalar") != nullptr) rule = query_pre_attn_scalar;
    if (!is_known_ && file_.peek("attention_multiplier") != nullptr) rule = attention_multiplier;
    const Json* dict = !is_known_ || architecture_.kind == config::PositionKind::mpt
                           ? file_.peek("attn_config")
                           : nullptr;
    if (dict != nullptr && dict->is_object())
      if (const auto scale = Fields<Json>(*dict, "attn_config", problems_)
                                 .number("softmax_scale", least_scale, greatest_scale))
        return *scale;
    switch (rule) {
      case one:
        return 1;
      case query_pre_attn_scalar:
        return 1 / std::sqrt(read_key("query_pre_attn_scalar"));
      case attention_multiplier:
        return file_.has("attention_multiplier") ? read_key("attention_multiplier") : 0;
      case by_flag:
        return file_.boolean("scale_attn_weights").value_or(true) ? 0 : 1;
      case half_head_dim:
        return layer.head_dim > 0 ? 1 / std::sqrt(static_cast<double>(layer.head_dim) / 2) : 0;
      default:
        return 0;
    }
  }

 private:
  double read_key(const char* key) {
    const auto value = file_.number(key, least_scale, greatest_scale);
    if (value) return *value;
    if (!file_.is_bad(key)) problems_.add(key, " is missing, and this model_type scales by it.");
    return 1;
  }

  const Fields<Json>& file_;
  const config::Architecture& architecture_;
  bool is_known_;
  Problems& problems_;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
