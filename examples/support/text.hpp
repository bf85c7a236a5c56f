// SPDX-License-Identifier: MIT
//
// Numbers and sentences as text.
#pragma once

#include <cctype>
#include <cmath>
#include <cstdint>
#include <iomanip>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>

namespace example {

/// A number with a fixed number of decimals; "-" for NaN.
inline std::string fixed(double value, int decimals) {
  if (std::isnan(value)) return "-";
  std::ostringstream text;
  text << std::fixed << std::setprecision(decimals) << value;
  return text.str() == "-0.0" ? "0.0" : text.str();
}

/// A key to sort numbers by, NaN after all others (as they are, comparisons with NaN are no order).
inline std::pair<bool, double> nan_last(double value) {
  return {std::isnan(value), std::isnan(value) ? 0 : value};
}

/// Tokens: 4100 as "4100", 16384 as "16k".
inline std::string short_count(std::int64_t tokens) {
  constexpr std::int64_t k = 1024, m = k * k;
  if (tokens >= m && tokens % m == 0) return std::to_string(tokens / m) + "M";
  if (tokens >= k && tokens % k == 0) return std::to_string(tokens / k) + "k";
  return std::to_string(tokens);
}

/// Letters, digits and dots of a name, and underscores for the rest.
inline std::string file_name(std::string name) {
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.') c = '_';
  return name;
}

/// Prints text in lines of at most `width` columns.
inline void print_wrapped(std::ostream& out, const std::string& text, std::size_t width,
                          const std::string& indent = "  ") {
  std::istringstream words(text);
  std::string word, line;
  while (words >> word) {
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      out << line << "\n";
      line = indent + word;
    } else {
      line += (line.empty() ? "" : " ") + word;
    }
  }
  out << line << "\n";
}

}  // namespace example
