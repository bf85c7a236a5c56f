// SPDX-License-Identifier: MIT
//
// Which rows a picture draws: six at most, the model as trained first, then its file's scheme, then
// the best ranked. Rows that are alike share a curve.
#pragma once

#include "../support/chart.hpp"
#include "comparison.hpp"

namespace compare {

struct Curve {
  std::string label;  ///< short enough to stand beside a chart
  const Row* row = nullptr;
  std::string names{};  ///< of all rows that share it

  /// In the look of its scheme, without points yet.
  [[nodiscard]] ChartLine line() const {
    if (row->kind != Row::configured) {
      ChartLine line = ChartLine::of(row->name);
      line.name = label;
      return line;
    }
    return {label, look_of(short_name(row->parameters)).colour, 3};
  }
};

inline bool equal(double a, double b) {
  return a == b || std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)) ||
         (std::isnan(a) && std::isnan(b));
}

template <class Range>
bool equal_all(const Range& a, const Range& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](double x, double y) { return equal(x, y); });
}

/// The rows that `keep` chooses, at most `most` that `alike` tells apart.
template <class Keep, class Alike>
std::vector<Curve> curves(const Comparison& c, std::size_t most, Keep&& keep, Alike&& alike) {
  std::vector<const Row*> in_order{&c.baseline()};
  if (const Row* own = c.find(Row::configured)) in_order.push_back(own);
  for (const std::size_t place : c.order) in_order.push_back(&c.rows[place]);
  for (const Row& row : c.rows)
    if (row.kind == Row::other) in_order.push_back(&row);
  std::vector<Curve> found;
  std::vector<const Row*> done;
  for (const Row* row : in_order) {
    if (std::find(done.begin(), done.end(), row) != done.end() || !keep(*row)) continue;
    done.push_back(row);
    const auto same = std::find_if(found.begin(), found.end(),
                                   [&](const Curve& f) { return alike(*f.row, *row); });
    if (same != found.end())
      same->names += ", " + row->name;
    else if (found.size() < most)
      found.push_back({row->name, row, row->name});
  }
  constexpr std::size_t longest = 24;  // letters that fit
  for (Curve& curve : found) {
    const auto others = std::count(curve.names.begin(), curve.names.end(), ',');
    curve.label = curve.names.size() <= longest ? curve.names
                  : others == 0                 ? curve.names.substr(0, longest)
                                : curve.row->name + " + " + std::to_string(others) + " alike";
  }
  return found;
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
