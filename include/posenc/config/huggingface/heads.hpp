// SPDX-License-Identifier: MIT
//
// HeadReader: how many heads a layer has, and how wide they are.
//
//   heads       num_attention_heads; a number, or a list with one per layer
//   key heads   num_key_value_heads, likewise; else as many
//   width       qk_nope_head_dim + qk_rope_head_dim, head_dim, or hidden_size / num_attention_heads
//
// One wrong value is one sentence: what would follow from it is not reported.
#pragma once

#include <posenc/config/architectures.hpp>
#include <posenc/config/huggingface/fields.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

struct Heads {
  std::vector<Index> query{}, key{};  ///< one entry for all layers, or one per layer
  Index width = 0;
  Index mla_rope_dim = 0;  ///< rotated block at the end of the head (qk_rope_head_dim); 0: not MLA

  [[nodiscard]] static Index of(const std::vector<Index>& list, std::size_t layer) {
    return list.empty() ? 0 : list[list.size() == 1 ? 0 : layer];
  }
};

template <class Json>
class HeadReader {
 public:
  HeadReader(const Fields<Json>& file, const config::Architecture& architecture, Problems& problems)
      : file_(file), architecture_(architecture), problems_(problems) {}

  [[nodiscard]] Heads read() {
    Heads heads;
    const std::string key = file_.key_of(spellings::heads);
    heads.query = counts(file_.peek("num_attention_heads_per_layer") != nullptr
                             ? "num_attention_heads_per_layer"
                             : key);
    const bool is_bad = file_.is_bad(key);
    heads.key = read_key_heads(heads.query);
    for (std::size_t i = 0; i < std::max(heads.query.size(), heads.key.size()); ++i) {
      const Index query = Heads::of(heads.query, std::min(i, heads.query.size() - 1));
      const Index kv = Heads::of(heads.key, std::min(i, heads.key.size() - 1));
      if (query <= 0 || kv <= 0 || query % kv == 0) continue;
      problems_.add(file_.key_of(spellings::kv_heads), " must divide ", key, ", got ", kv, " and ",
                    query, ".");
      break;
    }
    if (!is_bad && heads.query.empty() && file_.peek(file_.key_of(spellings::kv_heads)) != nullptr)
      problems_.add(key, " is missing, but ", file_.key_of(spellings::kv_heads), " is there.");
    read_width(heads, is_bad);
    return heads;
  }

 private:
  /// A number, or a list of numbers.
  std::vector<Index> counts(const std::string& key) {
    const Json* value = file_.find(key);
    if (value == nullptr || !value->is_array()) {
      const auto one = file_.integer(key, 1, most_heads);
      return one ? std::vector<Index>{*one} : std::vector<Index>{};
    }
    std::vector<Index> list;
    for (const Json& item : *value)
      if (const auto count = Fields<Json>::as_integer(item);
          count && *count >= 1 && *count <= most_heads)
        list.push_back(*count);
    if (!value->empty() && list.size() == value->size() && std::ssize(list) <= most_layers) {
      // A list of one would pass for a number.
      const std::string layers = file_.key_of(spellings::layers);
      const Json* given = list.size() == 1 ? file_.find(layers) : nullptr;
      problems_.require(given == nullptr || *given == 1, file_.path(key), " = ", file::echo(*value),
                        " is for one layer, but ", layers, " is ",
                        given == nullptr ? "" : file::echo(*given), ".");
      return list;
    }
    problems_.add(file_.path(key), " must be a number or a list of numbers between 1 and ",
                  most_heads, ", got ", file::echo(*value), ".");
    file_.mark_bad(key);
    return {};
  }

  std::vector<Index> read_key_heads(const std::vector<Index>& query) {
    if (architecture_.multi_query && file_.peek("n_head_kv") == nullptr) {
      const bool is_new = file_.flag("new_decoder_architecture");
      if (!is_new && file_.boolean("multi_query").value_or(true)) return {1};
      if (!is_new) return query;
    }
    if (file_.peek("multi_query_attention") != nullptr && file_.has("multi_query_group_num") &&
        file_.flag("multi_query_attention"))
      return counts("multi_query_group_num");
    const std::string key = file_.key_of(spellings::kv_heads);
    auto list = counts(key);
    return list.empty() || query.empty() ? query : list;
  }

  void read_width(Heads& heads, bool is_bad) {
    const auto nope = file_.integer("qk_nope_head_dim", 0, widest_head);
    const auto rope = file_.integer("qk_rope_head_dim", 1, widest_head);
    if (rope) {
      if (!nope && !file_.is_bad("qk_nope_head_dim"))
        problems_.add("qk_rope_head_dim = ", *rope, " needs qk_nope_head_dim, which is missing.");
      file_.mark_used("head_dim");  // of the rotated part
      heads.mla_rope_dim = *rope;
      heads.width = nope.value_or(0) + *rope;
      heads.key = heads.query;
      return;
    }
    if (file_.is_bad("qk_rope_head_dim")) return;
    const std::string key = file_.key_of(spellings::head_dim);
    if (const auto given = file_.integer(key, 1, widest_head)) {
      heads.width = *given;
      return;
    }
    const std::string hidden_key = file_.key_of(spellings::hidden);
    auto hidden = file_.integer(hidden_key, 1, most_heads * widest_head);
    if (file_.is_bad(key) || is_bad || file_.is_bad(hidden_key)) return;
    if (hidden && architecture_.scale == config::ScaleRule::half_head_dim) *hidden *= 2;
    const Index count = Heads::of(heads.query, 0);
    if (!hidden || heads.query.size() != 1 || *hidden % count != 0)
      problems_.add("head_dim is missing, and ", hidden_key, " (", hidden.value_or(0),
                    ") is not a multiple of ", file_.key_of(spellings::heads), " (", count, ").");
    else if (*hidden / count > widest_head)
      problems_.add(hidden_key, " = ", *hidden, " over ", count, " heads makes heads wider than ",
                    widest_head, " channels.");
    else
      heads.width = *hidden / count;
  }

  const Fields<Json>& file_;
  const config::Architecture& architecture_;
  Problems& problems_;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
