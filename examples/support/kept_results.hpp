// SPDX-License-Identifier: MIT
//
// Results of a run, kept as JSON in its folder, from which an interrupted run goes on.
#pragma once

#include "gnuplot.hpp"

#include <posenc/core/problems.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>

namespace example {

using Json = nlohmann::ordered_json;

/// FNV-1a, over one range of bytes after another.
template <class Bytes>
[[nodiscard]] std::uint64_t hash_of(const Bytes& bytes, std::uint64_t hash = 0xcbf29ce484222325U) {
  for (const auto byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
  return hash;
}

/// A number that JSON has as null, because it was none.
inline double real_of(const Json& json) { return json.is_null() ? NAN : json.get<double>(); }

/// results.json in a folder, whose runs share one setting: everything that results depend on.
class KeptResults {
 public:
  KeptResults(std::string who, std::filesystem::path folder, Json setting)
      : who_(std::move(who)), folder_(std::move(folder)), setting_(Json::parse(text_of(setting))) {}

  /// Calls read(json) with what the folder has. Throws posenc::Error where that is of another
  /// setting, where it cannot be opened, and where `read` throws.
  template <class Read>
  void load(const Read& read) const {
    std::error_code unknown;
    if (std::filesystem::status(path(), unknown).type() == std::filesystem::file_type::not_found)
      return;
    std::ifstream file(path());
    if (!file)
      throw posenc::Error(who_,
                          {path().string() + " is there and cannot be opened: make it readable, "
                                             "or choose another folder with --out."});
    const Json json = Json::parse(file, nullptr, false);
    if (json.is_discarded() || !json.is_object() || !json.contains("setting") ||
        json["setting"] != setting_)
      throw posenc::Error(
          who_, {folder_.string() +
                 " has results of another setting or text: choose another folder with --out, or "
                 "remove it."});
    try {
      read(json);
    } catch (const std::exception& error) {
      throw posenc::Error(who_, {path().string() + " cannot be read back: " + error.what() + "."});
    }
  }

  /// Written beside the old file and moved over it, so that an interruption leaves one or the other.
  void save(const Json& results) const {
    Json json{{"setting", setting_}};
    json.update(results);
    const std::filesystem::path next = path().string() + ".new";
    write_file(next, text_of(json, 1) + "\n");
    std::filesystem::rename(next, path());
  }

  [[nodiscard]] std::filesystem::path path() const { return folder_ / "results.json"; }
  [[nodiscard]] const Json& setting() const { return setting_; }

 private:
  /// As it stands in the file: what is not UTF-8, such as a model's name, is replaced, so that a setting
  /// is compared as it was written.
  [[nodiscard]] static std::string text_of(const Json& json, int indent = -1) {
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
  }

  std::string who_;
  std::filesystem::path folder_;
  Json setting_;
};

}  // namespace example
