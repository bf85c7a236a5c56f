// SPDX-License-Identifier: MIT
//
// Fields: an object of a configuration file, read by the types that its fields should have.
//
// A template on the JSON type, so that this header needs no JSON library. A key that is null counts
// as absent. A wrong type is a sentence that names the key and what was found. A key that is absent
// is looked up in the defaults of Hugging Face's class, where there are any; which were taken is
// remembered, and so is which keys were asked for, so that the others can be reported.
//
// One thing may have several spellings (spellings.hpp). All that are present must agree.
#pragma once

#include <posenc/config/huggingface/spellings.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/file/echo.hpp>
#include <posenc/file/sentences.hpp>

#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
class Fields {
 public:
  /// `where` is the path of the object ("" for the file, "rope_scaling"), for the sentences.
  Fields(const Json& object, std::string where, Problems& problems, const Json* defaults = nullptr)
      : object_(&object), defaults_(defaults), where_(std::move(where)), problems_(&problems) {}

  [[nodiscard]] const Json& json() const { return *object_; }
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] std::string path(std::string_view key) const {
    return where_.empty() ? std::string(key) : where_ + "." + std::string(key);
  }

  /// Present in the file, and be it null.
  [[nodiscard]] bool mentions(const std::string& key) const { return object_->contains(key); }

  /// The value that the file has for a key, if it is not null. Does not count as read.
  [[nodiscard]] const Json* peek(const std::string& key) const {
    const auto at = object_->find(key);
    return at == object_->end() || at->is_null() ? nullptr : &*at;
  }

  /// The value of a key that is present and not null, else, where it is absent, the default.
  [[nodiscard]] const Json* find(const std::string& key) const {
    used_.insert(key);
    if (object_->contains(key)) return peek(key);
    return find_default(key);
  }
  [[nodiscard]] bool has(const std::string& key) const { return find(key) != nullptr; }
  /// The default of the class, for a thing that the file may say otherwise; null counts as absent.
  [[nodiscard]] const Json* class_value(const std::string& key) const { return find_default(key); }

  [[nodiscard]] std::optional<double> number(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_number() && std::isfinite(value->template get<double>()))
      return value->template get<double>();
    return wrong(key, *value, "a number");
  }

  /// A number in [least, greatest], or a sentence.
  [[nodiscard]] std::optional<double> number(const std::string& key, double least,
                                             double greatest) const {
    return within(key, number(key), least, greatest);
  }

  [[nodiscard]] std::optional<Index> integer(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (const auto whole = as_integer(*value)) return whole;
    return wrong(key, *value, "a whole number");
  }

  /// A whole number in [least, greatest], or a sentence.
  [[nodiscard]] std::optional<Index> integer(const std::string& key, Index least,
                                             Index greatest) const {
    return within(key, integer(key), least, greatest);
  }

  [[nodiscard]] std::optional<bool> boolean(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_boolean()) return value->template get<bool>();
    if (value->is_number_integer()) return *value != 0;  // Llama 4: 4 for true
    return wrong(key, *value, "true or false");
  }
  /// Whether a flag is there and true.
  [[nodiscard]] bool flag(const std::string& key) const { return boolean(key).value_or(false); }

  [[nodiscard]] std::optional<std::string> text(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return value->template get<std::string>();
    return wrong(key, *value, "a string");
  }

  [[nodiscard]] std::optional<std::vector<double>> numbers(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    std::vector<double> list;
    if (value->is_array())
      for (const Json& item : *value)
        if (item.is_number()) list.push_back(item.template get<double>());
    if (value->is_array() && list.size() == value->size()) return list;
    return wrong(key, *value, "a list of numbers");
  }

  [[nodiscard]] std::optional<std::vector<std::string>> texts(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    std::vector<std::string> list;
    if (value->is_array())
      for (const Json& item : *value)
        if (item.is_string()) list.push_back(item.template get<std::string>());
    if (value->is_array() && list.size() == value->size()) return list;
    return wrong(key, *value, "a list of strings");
  }

  [[nodiscard]] const Json* object(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr || value->is_object()) return value;
    (void)wrong(key, *value, "an object");
    return nullptr;
  }

  /// The spelling of a thing that the file uses, or "" where it has none. Two that differ are a
  /// sentence.
  [[nodiscard]] std::string spelling(Spellings names) const {
    std::string first;
    for (const char* name : names) {
      const Json* value = peek(name);
      if (value == nullptr) continue;
      used_.insert(name);
      if (first.empty()) {
        first = name;
      } else if (object_->at(first) != *value) {
        problems_->add(path(first), " = ", file::echo(object_->at(first)), " and ", path(name),
                       " = ", file::echo(*value), " contradict each other: keep one.");
        bad_.insert(first);
      }
    }
    return first;
  }
  /// The same, else the spelling that has a default, else the first.
  [[nodiscard]] std::string key_of(Spellings names) const {
    if (std::string found = spelling(names); !found.empty()) return found;
    for (const char* name : names)
      if (!object_->contains(name) && find_default(name, false) != nullptr) return name;
    return *names.begin();
  }

  /// A sentence about this key was written: what depends on it has nothing to add.
  [[nodiscard]] bool is_bad(const std::string& key) const { return bad_.contains(key); }
  void mark_bad(const std::string& key) const { bad_.insert(key); }
  void mark_used(const std::string& key) const { used_.insert(key); }
  [[nodiscard]] bool was_read(const std::string& key) const { return used_.contains(key); }

  /// Keys that nobody asked for and that are not null.
  [[nodiscard]] std::vector<std::string> unused() const {
    std::vector<std::string> keys;
    for (auto at = object_->begin(); at != object_->end(); ++at)
      if (!used_.contains(at.key()) && !at->is_null()) keys.push_back(at.key());
    return keys;
  }

  /// "head_dim = 256, sliding_window = 4096": the defaults that were taken.
  [[nodiscard]] std::string taken_defaults() const {
    std::string all;
    for (const auto& [key, value] : taken_)
      all += (all.empty() ? "" : ", ") + key + " = " + file::echo(*value);
    return all;
  }

  [[nodiscard]] static std::optional<Index> as_integer(const Json& value) {
    if (!value.is_number()) return std::nullopt;
    const double real = value.template get<double>();
    if (!(std::abs(real) <= 9e15) || real != std::floor(real)) return std::nullopt;
    return static_cast<Index>(real);
  }

 private:
  const Json* find_default(const std::string& key, bool take = true) const {
    if (defaults_ == nullptr) return nullptr;
    const auto at = defaults_->find(key);
    if (at == defaults_->end() || at->is_null()) return nullptr;
    if (take) taken_[key] = &*at;
    return &*at;
  }

  template <class Number>
  std::optional<Number> within(const std::string& key, std::optional<Number> value, Number least,
                               Number greatest) const {
    if (!value || (*value >= least && *value <= greatest)) return value;
    problems_->add(path(key), " must be between ", least, " and ", greatest, ", got ", *value, ".");
    bad_.insert(key);
    return std::nullopt;
  }

  std::nullopt_t wrong(const std::string& key, const Json& value, std::string_view expected) const {
    if (bad_.insert(key).second)
      problems_->add(path(key), " must be ", expected, ", got ", file::echo(value), ".");
    return std::nullopt;
  }

  const Json* object_;
  const Json* defaults_;
  std::string where_;
  Problems* problems_;
  mutable std::set<std::string> used_{}, bad_{};
  mutable std::map<std::string, const Json*> taken_{};
};

/// Sizes beyond these are typing errors, and would be allocated.
inline constexpr Index most_layers = 65'536;
inline constexpr std::size_t most_kinds = 64;
inline constexpr Index most_heads = 65'536;
inline constexpr Index widest_head = 65'536;
inline constexpr Position most_tokens = Position{1} << 40;
inline constexpr double greatest_factor = 1e9;
/// Of scales of scores, amplitudes and temperatures.
inline constexpr double least_scale = 1e-6, greatest_scale = 1e6;

using file::sentence;

}  // namespace huggingface
POSENC_NAMESPACE_END
