// SPDX-License-Identifier: MIT
//
// Numbers and sentences as text.
#pragma once

#include <cmath>
#include <iomanip>
#include <ostream>
#include <sstream>
#include <string>

namespace compare {

/// A number with a fixed number of decimals; "-" for NaN.
inline std::string fixed(double value, int decimals) {
  if (std::isnan(value)) return "-";
  std::ostringstream text;
  text << std::fixed << std::setprecision(decimals) << value;
  return text.str() == "-0.0" ? "0.0" : text.str();
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

}  // namespace compare
