// SPDX-License-Identifier: MIT
//
// Keys: the metadata of one architecture ("llama.rope.freq_base"), read within bounds.
//
// What is out of bounds is a sentence that names the key; which keys were asked for is remembered,
// so that those that bear on positions and were not read can be reported.
#pragma once

#include <posenc/gguf/file.hpp>

#include <cmath>
#include <set>

POSENC_NAMESPACE_BEGIN
namespace gguf {

class Keys {
 public:
  Keys(const File& file, std::string_view architecture, Problems& problems)
      : file_(file), prefix_(std::string(architecture) + "."), problems_(problems) {}

  [[nodiscard]] const File& file() const { return file_; }
  [[nodiscard]] std::string path(std::string_view name) const {
    return prefix_ + std::string(name);
  }
  [[nodiscard]] bool has(std::string_view name) const {
    used_.insert(path(name));
    return file_.has(path(name));
  }

  /// A whole number in [least, most], or a sentence; nothing where it is absent.
  [[nodiscard]] std::optional<Index> integer(std::string_view name, Index least, Index most) const {
    if (!has(name)) return std::nullopt;
    return within(name, file_.integer(path(name)).value_or(0), least, most);
  }
  /// The same of a key that must be there; `least` where it is not, with a sentence.
  [[nodiscard]] Index required(std::string_view name, Index least, Index most) const {
    if (!has(name)) problems_.add(path(name), " is missing.");
    return integer(name, least, most).value_or(least);
  }
  /// A number in [least, most], or a sentence.
  [[nodiscard]] std::optional<double> number(std::string_view name, double least,
                                             double most) const {
    if (!has(name)) return std::nullopt;
    return within(name, file_.real(path(name)).value_or(0), least, most);
  }
  [[nodiscard]] std::optional<bool> boolean(std::string_view name) const {
    used_.insert(path(name));
    return file_.boolean(path(name));
  }
  [[nodiscard]] std::string text(std::string_view name) const {
    used_.insert(path(name));
    return std::string(file_.text(path(name)).value_or(""));
  }
  /// Whole numbers in [least, most]: one, or a list of `count`.
  [[nodiscard]] std::vector<Index> integers(std::string_view name, Index count, Index least,
                                            Index most) const {
    std::vector<Index> all;
    if (!has(name)) return all;
    if (!file_.is_array(path(name))) {
      if (const auto one = integer(name, least, most)) all.push_back(*one);
      return all;
    }
    const std::vector<double> list = file_.reals(path(name));
    if (std::ssize(list) != count) {
      problems_.add(path(name), " must have a number for each of ", count, ", got ", list.size(),
                    ".");
      return all;
    }
    for (const double value : list)
      if (value != std::floor(value))
        problems_.add(path(name), " must have whole numbers, got ", value, ".");
      else if (const auto one =
                   within(name, value, static_cast<double>(least), static_cast<double>(most)))
        all.push_back(static_cast<Index>(*one));
    if (std::ssize(all) != count) all.clear();
    return all;
  }

  /// Keys of this architecture that nobody asked for and whose name has one of these words.
  [[nodiscard]] std::vector<std::string> unread(
      std::initializer_list<std::string_view> words) const {
    std::vector<std::string> found;
    for (const std::string& key : file_.keys())
      if (key.starts_with(prefix_) && !used_.contains(key))
        for (const std::string_view word : words)
          if (key.find(word, prefix_.size()) != std::string::npos) {
            found.push_back(key);
            break;
          }
    return found;
  }

 private:
  template <class N>
  [[nodiscard]] std::optional<N> within(std::string_view name, N value, N least, N most) const {
    if (value >= least && value <= most) return value;
    problems_.add(path(name), " must lie within [", least, ", ", most, "], got ", value, ".");
    return std::nullopt;
  }

  const File& file_;
  std::string prefix_;
  mutable std::set<std::string> used_{};
  Problems& problems_;
};

}  // namespace gguf
POSENC_NAMESPACE_END
