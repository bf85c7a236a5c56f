// SPDX-License-Identifier: MIT
//
// Colours and names of the curves: the same scheme looks the same in every picture.
#pragma once

#include "comparison.hpp"

namespace compare {

struct Curve {
  std::string label;
  std::string colour;
  int dash = 1;
  double width = 2;
  const Row* row = nullptr;

  /// " with lines ..." of a gnuplot plot.
  [[nodiscard]] std::string lines() const {
    std::ostringstream text;
    text << " with lines linecolor rgb '" << colour << "' linewidth " << width << " dashtype "
         << dash;
    return text.str();
  }
};

/// Okabe and Ito's palette for all kinds of colour vision, without black and yellow.
inline constexpr const char* palette[] = {"#0072B2", "#D55E00", "#009E73",
                                          "#CC79A7", "#E69F00", "#56B4E9"};
inline constexpr const char* reference_colour = "#888888";

/// Families whose curves share a picture, and therefore the palette.
inline int group_of(Family family) {
  switch (family) {
    case Family::frequency:
      return 0;
    case Family::base:
    case Family::distance:
      return 1;
    case Family::bias:
    case Family::vectors:
      return 2;
    case Family::mask:
    case Family::score:
      return 3;
  }
  return 3;
}

inline Curve curve_of(const Comparison& c, const Row& row) {
  if (row.name == c.baseline) return {row.name, reference_colour, 1, 3, &row};
  if (row.configured) return {row.name, "#333333", 3, 2, &row};
  std::size_t place = 0;  // among the schemes of its group
  for (const Row& other : c.rows) {
    if (&other == &row) break;
    if (group_of(other.family) == group_of(row.family) && !other.configured &&
        other.name != c.baseline)
      ++place;
  }
  constexpr std::size_t colours = std::size(palette);
  constexpr int dashes[] = {1, 2, 4, 5};
  return {row.name, palette[place % colours], dashes[(place / colours) % std::size(dashes)], 2,
          &row};
}

/// The curves of the rows that `keep` chooses, those that are alike under one name.
template <class Keep, class Alike>
std::vector<Curve> curves(const Comparison& c, Keep&& keep, Alike&& alike) {
  std::vector<Curve> found;
  for (const Row& row : c.rows) {
    if (!keep(row)) continue;
    const auto same = std::find_if(found.begin(), found.end(),
                                   [&](const Curve& f) { return alike(*f.row, row); });
    if (same == found.end()) {
      found.push_back(curve_of(c, row));
    } else if (same->row->configured) {  // the file's scheme takes name and colour of its twin
      const std::string label = row.name + " (as configured)";
      *same = curve_of(c, row);
      same->label = label;
    } else {
      same->label += ", " + row.name;
    }
  }
  return found;
}

inline bool equal(double a, double b) {
  return a == b || std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)) ||
         (std::isnan(a) && std::isnan(b));
}

template <class Range>
bool equal_all(const Range& a, const Range& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](double x, double y) { return equal(x, y); });
}

/// Axis labels in tokens: ("4k" 4096, ...).
inline std::string token_tics(const std::vector<Position>& at, bool numbered = true) {
  std::string text = "(";
  for (const Position p : at)
    text += (text.size() > 1 ? ", '" : "'") + (numbered ? short_count(p) : "") + "' " +
            std::to_string(p);
  return text + ")";
}

/// Powers of a step up to `last`, for a logarithmic axis of distances.
inline std::string log_tics(Position last) {
  std::vector<Position> at;
  for (Position p = 1; p <= last; p *= 4) at.push_back(p);
  return token_tics(at);
}

/// Even tics for a linear axis.
inline std::string linear_tics(Position last, bool numbered = true) {
  Position step = 1;
  while (step * 4 < last) step *= 2;
  std::vector<Position> at;
  for (Position p = 0; p <= last; p += step) at.push_back(p);
  return token_tics(at, numbered);
}

}  // namespace compare
