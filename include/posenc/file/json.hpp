// SPDX-License-Identifier: MIT
//
// parse_text: the bytes of a file as JSON, as Python reads and writes them.
//
//   Infinity, -Infinity, NaN   as Python writes them: the strings "Infinity", ..., so that they are
//                              wrong only where a number is needed
//   a key twice                with two values: an error, where JSON libraries keep one in silence
//   depth                      at most deepest_nesting: what is deeper is no configuration, and
//                              recursion would run out of stack
//   size                       at most what the caller allows (Limit), largest_file of a configuration
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/file/echo.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN
namespace file {

inline constexpr std::size_t largest_file = std::size_t{32} << 20;
inline constexpr std::size_t deepest_nesting = 64;

/// How long a text may be, and what it is, for the sentence about a longer one.
struct Limit {
  std::size_t bytes = largest_file;
  std::string_view what = "configuration";
};

namespace detail {

/// Bare Infinity and NaN as strings. Everything else stays as it is.
[[nodiscard]] inline std::string quote_python_numbers(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      std::size_t end = at + 1;
      while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2U : 1U;
      end = std::min(end + 1, text.size());
      out += text.substr(at, end - at);
      at = end;
      continue;
    }
    std::size_t length = 0;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"})
      if (length == 0 && text.substr(at, word.size()) == word) length = word.size();
    if (length == 0) {
      out += text[at++];
      continue;
    }
    out += '"';
    out += text.substr(at, length);
    out += '"';
    at += length;
  }
  return out;
}

/// Builds the values, and watches depth and keys on the way.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(Problems& problems, std::string_view what) : problems_(problems), what_(what) {}

  nlohmann::json take() {
    for (const Twice& key : twice_)
      problems_.require(key.first == *key.second, key.path, " stands twice, with ", echo(key.first),
                        " and ", echo(*key.second), ": keep one.");
    return std::move(root_);
  }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t& value) override { return put(std::move(value)); }
  bool start_object(std::size_t) override { return open(nlohmann::json::object()); }
  bool start_array(std::size_t) override { return open(nlohmann::json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [at, is_new] =
        open_.back().value->get_ref<nlohmann::json::object_t&>().emplace(name, nullptr);
    if (!is_new) twice_.push_back({std::move(at->second), &at->second, path() + shorten(name)});
    slot_ = &at->second;
    open_.back().key = std::move(name);
    return true;
  }

  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::detail::exception& error) override {
    problems_.add("not JSON: ", shorten_error(error.what()));
    return false;
  }

 private:
  struct Open {
    nlohmann::json* value;
    std::string key{};
  };
  struct Twice {
    nlohmann::json first;
    const nlohmann::json* second;  ///< a node of a map, which stays where it is
    std::string path;
  };

  static std::string shorten_error(std::string_view what) {
    // "[json.exception.parse_error.101] parse error at line 3, ...; last read: '...'"
    const std::size_t end = what.find("] ");
    if (end != std::string_view::npos) what.remove_prefix(end + 2);
    if (what.size() <= 200) return std::string(what);
    return std::string(what.substr(0, 80)) + " ... " + std::string(what.substr(what.size() - 100));
  }

  [[nodiscard]] std::string path() const {
    std::string path;
    for (const Open& open : open_)
      if (&open != &open_.back()) path += (open.key.empty() ? "[]" : shorten(open.key)) + ".";
    return path;
  }

  nlohmann::json* place(nlohmann::json value) {
    nlohmann::json* at = slot_;
    if (open_.empty()) {
      at = &root_;
    } else if (open_.back().value->is_array()) {
      open_.back().value->push_back(nullptr);
      at = &open_.back().value->back();
    }
    *at = std::move(value);
    return at;
  }
  bool put(nlohmann::json value) { return place(std::move(value)) != nullptr; }
  bool open(nlohmann::json value) {
    if (open_.size() == deepest_nesting) {
      problems_.add("objects and lists are nested deeper than ", deepest_nesting,
                    " levels, which no ", what_, " needs.");
      return false;
    }
    open_.push_back({place(std::move(value))});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  Problems& problems_;
  std::string_view what_;
  nlohmann::json root_{};
  nlohmann::json* slot_ = nullptr;
  std::vector<Open> open_{};
  std::vector<Twice> twice_{};
};

}  // namespace detail

/// The values of a text; a sentence where it is not JSON, too long or too deep, or has a key with two values.
[[nodiscard]] inline nlohmann::json parse_text(std::string_view text, Problems& problems,
                                               const Limit& limit = {}) {
  problems.require(text.size() <= limit.bytes, "the file has more than ", limit.bytes,
                   " bytes, which no ", limit.what, " needs.");
  if (!problems.empty()) return {};
  detail::Builder builder(problems, limit.what);
  const std::string quoted = detail::quote_python_numbers(text);
  if (!nlohmann::json::sax_parse(quoted, &builder)) return {};
  return builder.take();
}

}  // namespace file
POSENC_NAMESPACE_END
