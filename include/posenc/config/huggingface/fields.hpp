// SPDX-License-Identifier: MIT
//
// Fields: an object of a configuration file, read by the types that its fields should have.
//
// A template on the JSON type, so that this header needs no JSON library; huggingface.hpp brings
// nlohmann's. A key that is null counts as absent. A wrong type is a sentence that names the key
// and what was found. Keys that were asked for are remembered, so that the others can be reported.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <cmath>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
class Fields {
 public:
  /// `where` is the path of the object ("" for the file, "rope_scaling"), for the sentences.
  Fields(const Json& object, std::string where, Problems& problems)
      : object_(&object), where_(std::move(where)), problems_(&problems) {}

  [[nodiscard]] const Json& json() const { return *object_; }
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] std::string path(std::string_view key) const {
    return where_.empty() ? std::string(key) : where_ + "." + std::string(key);
  }

  /// Present, and be it null.
  [[nodiscard]] bool mentions(const std::string& key) const { return object_->contains(key); }

  /// The value of a key that is present and not null.
  [[nodiscard]] const Json* find(const std::string& key) const {
    used_.insert(key);
    const auto at = object_->find(key);
    return at == object_->end() || at->is_null() ? nullptr : &*at;
  }

  [[nodiscard]] std::optional<double> number(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_number()) return value->template get<double>();
    wrong(key, *value, "a number");
    return std::nullopt;
  }

  [[nodiscard]] std::optional<Index> integer(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_number()) {
      const double real = value->template get<double>();
      if (std::abs(real) <= 9e15 && real == std::floor(real)) return static_cast<Index>(real);
    }
    wrong(key, *value, "a whole number");
    return std::nullopt;
  }

  /// The first of several spellings that is present.
  [[nodiscard]] std::optional<Index> integer(std::initializer_list<const char*> spellings) const {
    for (const char* key : spellings)
      if (const auto value = integer(std::string(key))) return value;
    return std::nullopt;
  }

  [[nodiscard]] std::optional<bool> boolean(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_boolean()) return value->template get<bool>();
    if (value->is_number_integer()) return value->template get<int>() != 0;  // Llama 4: 4 for true
    wrong(key, *value, "true or false");
    return std::nullopt;
  }

  [[nodiscard]] std::optional<std::string> text(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return value->template get<std::string>();
    wrong(key, *value, "a string");
    return std::nullopt;
  }

  [[nodiscard]] std::optional<std::vector<double>> numbers(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    std::vector<double> list;
    if (value->is_array())
      for (const Json& item : *value)
        if (item.is_number()) list.push_back(item.template get<double>());
    if (value->is_array() && list.size() == value->size()) return list;
    wrong(key, *value, "a list of numbers");
    return std::nullopt;
  }

  [[nodiscard]] std::optional<std::vector<std::string>> texts(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    std::vector<std::string> list;
    if (value->is_array())
      for (const Json& item : *value)
        if (item.is_string()) list.push_back(item.template get<std::string>());
    if (value->is_array() && list.size() == value->size()) return list;
    wrong(key, *value, "a list of strings");
    return std::nullopt;
  }

  [[nodiscard]] const Json* object(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr || value->is_object()) return value;
    wrong(key, *value, "an object");
    return nullptr;
  }

  /// Keys that nobody asked for and that are not null.
  [[nodiscard]] std::vector<std::string> unused() const {
    std::vector<std::string> keys;
    for (auto at = object_->begin(); at != object_->end(); ++at)
      if (!used_.contains(at.key()) && !at->is_null()) keys.push_back(at.key());
    return keys;
  }

 private:
  void wrong(const std::string& key, const Json& value, std::string_view expected) const {
    problems_->add(path(key), " must be ", expected, ", got ", value.dump(), ".");
  }

  const Json* object_;
  std::string where_;
  Problems* problems_;
  mutable std::set<std::string> used_;
};

/// Sizes beyond these are typing errors, and would be allocated.
inline constexpr Index most_layers = 65'536;
inline constexpr Index widest_head = 65'536;

/// A sentence made of parts, with numbers in full.
template <class... Parts>
[[nodiscard]] std::string sentence(const Parts&... parts) {
  Problems one;
  one.add(parts...);
  return one.sentences().front();
}

}  // namespace huggingface
POSENC_NAMESPACE_END
