// SPDX-License-Identifier: MIT
//
// Report: the table, and a folder with page and pictures.
#pragma once

#include "../support/chart.hpp"
#include "../support/html.hpp"
#include "results.hpp"
#include "setting.hpp"

namespace evaluate {

using example::fixed;

struct SchemeResult {
  std::string name;
  std::vector<Line> lines{};  ///< by length
};

struct Report {
  const Setting& setting;
  const LlamaShape& shape;
  std::vector<SchemeResult> results{};
  MeasureOptions options{};
  std::vector<std::string> left_out{};  ///< what does not go together, and why

  [[nodiscard]] const Measured* reference() const {
    for (const SchemeResult& r : results)
      for (const Line& line : r.lines)
        if (r.name == "as trained" && line.measured.length <= shape.trained())
          return &line.measured;
    return nullptr;
  }

  [[nodiscard]] std::vector<std::string> facts() const {
    std::vector<std::string> lines{
        shape.name + ", trained on " + std::to_string(shape.trained()) +
            " tokens: " + std::to_string(shape.layers) + " layers, " + std::to_string(shape.heads) +
            " query and " + std::to_string(shape.kv_heads) + " key heads of " +
            std::to_string(shape.head_dim) + " channels" + rotations() + ".",
        "Windows of all lengths end at the same token. Perplexity is that of the last " +
            std::to_string(options.last) + " tokens.",
        "Schemes that follow the length have it from the first token of a window; in generation "
        "they would have the "
        "length so far."};
    if (!setting.selects.empty())
      lines.push_back(setting.selects.front().second.whole_prompt
                          ? "Where keys are chosen, all tokens choose."
                          : "Where keys are chosen, the counted tokens choose; those before them "
                            "read all keys.");
    lines.insert(lines.end(), left_out.begin(), left_out.end());
    if (const Measured* m = reference())
      lines.push_back("The same tokens within a window of " + std::to_string(m->length) +
                      " tokens, as trained: " + fixed(m->perplexity(), 3) + ".");
    return lines;
  }

  /// ", base 100000", and the scaling of each kind of layer that has one.
  [[nodiscard]] std::string rotations() const {
    std::string text;
    for (const config::LayerKind& kind : shape.positions.layers) {
      if (!kind.rotary) continue;
      const std::string one = ", base " + fixed(kind.rotary->base, 0) +
                              (kind.rotary->type == "default" ? "" : " with " + kind.rotary->type);
      if (text.find(one) == std::string::npos) text += one;
    }
    return text;
  }

  /// "DualChunk 12.3, ..." at the longest length, from the best.
  [[nodiscard]] std::string conclusion() const {
    std::vector<std::pair<std::pair<bool, double>, std::string>> all;
    Index longest = 0;
    for (const SchemeResult& r : results)
      for (const Line& line : r.lines) longest = std::max(longest, line.measured.length);
    for (const SchemeResult& r : results)
      for (const Line& line : r.lines)
        if (line.measured.length == longest)
          all.emplace_back(example::nan_last(line.measured.perplexity()), r.name);
    std::stable_sort(all.begin(), all.end());
    std::string text = "At " + std::to_string(longest) + " tokens, from the best:";
    for (const auto& [perplexity, name] : all)
      text += (text.back() == ':' ? " " : ", ") + name + " " +
              (perplexity.first ? "no number" : fixed(perplexity.second, 2));
    return text + ". One model and one text: orders do not carry over.";
  }

  void print(std::ostream& out) const {
    for (const std::string& fact : facts()) example::print_wrapped(out, fact, 92);
    std::size_t width = 14;
    for (const SchemeResult& r : results)
      width = std::max(width, std::min<std::size_t>(r.name.size(), 44) + 2);
    for (const SchemeResult& r : results) {
      out << std::left << std::setw(static_cast<int>(width)) << r.name << std::right;
      for (const Line& line : r.lines) {
        const Measured& m = line.measured;
        out << "  " << m.length << ": " << fixed(m.perplexity(), 3) << " (" << fixed(m.seconds, 0)
            << " s";
        if (m.keys_read) out << ", " << fixed(100 * *m.keys_read, 1) << " % of keys";
        if (line.keys_found) out << ", keys " << *line.keys_found << "/5";
        out << ")";
      }
      out << "\n";
    }
    example::print_wrapped(out, conclusion(), 92);
  }

  /// Six curves at most: as trained, and those that are best at the longest length.
  [[nodiscard]] example::Chart chart() const {
    std::vector<const SchemeResult*> chosen;
    for (const SchemeResult& r : results)
      if (!r.lines.empty()) chosen.push_back(&r);
    std::stable_sort(chosen.begin(), chosen.end(),
                     [](const SchemeResult* a, const SchemeResult* b) {
                       const auto key = [](const SchemeResult* r) {
                         return std::pair(r->name != "as trained",
                                          example::nan_last(r->lines.back().measured.last));
                       };
                       return key(a) < key(b);
                     });
    if (chosen.size() > example::most_lines) chosen.resize(example::most_lines);
    example::Chart chart{"position",
                         "Where the model breaks, and what mends it",
                         "Nats per token by position in the longest window. At most six schemes: "
                         "as trained, and those with the "
                         "lowest perplexity at its end.",
                         "position, tokens",
                         "nats per token",
                         false};
    for (const SchemeResult* r : chosen) {
      chart.lines.push_back(example::ChartLine::of(r->name));
      chart.lines.back().name.resize(std::min<std::size_t>(r->name.size(), 24));
      for (const auto& [end, nats] : r->lines.back().measured.by_position)
        chart.lines.back().points.emplace_back(static_cast<double>(end), nats);
    }
    return chart;
  }

  [[nodiscard]] std::string write() const {
    const std::filesystem::path folder = setting.out;
    std::ostringstream html;
    html << example::page_head(shape.name + ", read beyond its trained length")
         << "<ul class=facts>\n";
    for (const std::string& fact : facts()) html << "<li>" << example::escaped(fact) << "\n";
    html << "<li>" << example::escaped(conclusion())
         << "\n</ul>\n<div class=wide><table>\n<thead><tr><th>scheme<th>tokens"
         << "<th>perplexity<th>seconds" << (setting.selects.empty() ? "" : "<th>keys read")
         << (setting.passkey ? "<th>keys found" : "") << "<th>parameters</tr></thead>\n";
    for (const SchemeResult& r : results)
      for (const Line& line : r.lines) {
        const Measured& m = line.measured;
        html << "<tr><th>" << (&line == &r.lines.front() ? example::escaped(r.name) : "") << "<td>"
             << m.length << "<td>" << fixed(m.perplexity(), 3) << "<td>" << fixed(m.seconds, 1);
        if (!setting.selects.empty())
          html << "<td>" << (m.keys_read ? fixed(100 * *m.keys_read, 1) + " %" : "all");
        if (setting.passkey)
          html << "<td>" << (line.keys_found ? std::to_string(*line.keys_found) + "/5" : "–");
        html << "<td>" << example::escaped(line.parameters) << "</tr>\n";
      }
    html << "</table></div>\n";
    const example::Picture picture = example::draw_chart(chart(), folder);
    if (example::draw(folder, picture, example::has_gnuplot()))
      html << "<figure>\n<div class=wide>"
           << example::inline_svg(folder / "position.svg", picture.title) << "</div>\n<figcaption>"
           << example::escaped(picture.caption) << "</figcaption>\n</figure>\n";
    html << "</main>\n</html>\n";
    example::write_file(folder / "evaluate.html", html.str());
    return "Wrote " + (folder / "evaluate.html").string() + " and results.json beside it.";
  }
};

}  // namespace evaluate
