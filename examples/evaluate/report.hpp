// SPDX-License-Identifier: MIT
//
// Report: the table, and a folder with page, pictures and results as JSON.
#pragma once

#include "../support/chart.hpp"
#include "../support/html.hpp"
#include "../support/text.hpp"
#include "setting.hpp"

#include <nlohmann/json.hpp>

namespace evaluate {

using example::fixed;

struct SchemeResult {
  std::string name;
  std::vector<std::string> parameters{};  ///< by length
  std::vector<Measured> measured{};
  std::vector<int> keys_found{};  ///< of five depths, by length
};

struct Report {
  const Setting& setting;
  const LlamaShape& shape;
  std::vector<SchemeResult> results{};
  MeasureOptions options{};

  [[nodiscard]] const Measured* reference() const {
    for (const SchemeResult& r : results)
      for (const Measured& m : r.measured)
        if (r.name == "as trained" && m.length <= shape.trained) return &m;
    return nullptr;
  }

  [[nodiscard]] std::vector<std::string> facts() const {
    std::vector<std::string> lines{
        shape.name + ", trained on " + std::to_string(shape.trained) +
            " tokens: " + std::to_string(shape.layers) + " layers, " + std::to_string(shape.heads) +
            " query and " + std::to_string(shape.kv_heads) + " key heads of " +
            std::to_string(shape.head_dim) + " channels, base " + fixed(shape.base, 0) + ".",
        "Windows of all lengths end at the same token. Perplexity is that of the last " +
            std::to_string(options.last) + " tokens.",
        "Schemes that follow the length have it from the first token of a window; in generation "
        "they would have the "
        "length so far."};
    if (const Measured* m = reference())
      lines.push_back("The same tokens within a window of " + std::to_string(m->length) +
                      " tokens, as trained: " + fixed(m->perplexity(), 3) + ".");
    return lines;
  }

  /// "DualChunk 12.3, ..." at the longest length, from the best.
  [[nodiscard]] std::string conclusion() const {
    std::vector<std::pair<double, std::string>> all;
    Index longest = 0;
    for (const SchemeResult& r : results)
      for (const Measured& m : r.measured) longest = std::max(longest, m.length);
    for (const SchemeResult& r : results)
      for (const Measured& m : r.measured)
        if (m.length == longest) all.emplace_back(m.perplexity(), r.name);
    std::stable_sort(all.begin(), all.end());
    std::string text = "At " + std::to_string(longest) + " tokens, from the best:";
    for (const auto& [perplexity, name] : all)
      text += (text.back() == ':' ? " " : ", ") + name + " " + fixed(perplexity, 2);
    return text + ". One model and one text: orders do not carry over.";
  }

  void print(std::ostream& out) const {
    for (const std::string& fact : facts()) example::print_wrapped(out, fact, 92);
    std::size_t width = 14;
    for (const SchemeResult& r : results)
      width = std::max(width, std::min<std::size_t>(r.name.size(), 44) + 2);
    for (const SchemeResult& r : results) {
      out << std::left << std::setw(static_cast<int>(width)) << r.name << std::right;
      for (std::size_t i = 0; i < r.measured.size(); ++i) {
        const Measured& m = r.measured[i];
        out << "  " << m.length << ": " << fixed(m.perplexity(), 3) << " (" << fixed(m.seconds, 0)
            << " s";
        if (i < r.keys_found.size()) out << ", keys " << r.keys_found[i] << "/5";
        out << ")";
      }
      out << "\n";
    }
    example::print_wrapped(out, conclusion(), 92);
  }

  [[nodiscard]] nlohmann::ordered_json json() const {
    nlohmann::ordered_json all{
        {"model", shape.name}, {"trained", shape.trained}, {"last", options.last}};
    for (const SchemeResult& r : results)
      for (std::size_t i = 0; i < r.measured.size(); ++i) {
        const Measured& m = r.measured[i];
        nlohmann::ordered_json one{{"scheme", r.name},     {"parameters", r.parameters[i]},
                                   {"length", m.length},   {"perplexity", m.perplexity()},
                                   {"seconds", m.seconds}, {"by_position", m.by_position}};
        if (i < r.keys_found.size()) one["pass_keys_of_5"] = r.keys_found[i];
        all["results"].push_back(one);
      }
    return all;
  }

  /// Six curves at most: as trained, and those that are best at the longest length.
  [[nodiscard]] example::Chart chart() const {
    std::vector<const SchemeResult*> chosen;
    for (const SchemeResult& r : results)
      if (!r.measured.empty()) chosen.push_back(&r);
    std::stable_sort(chosen.begin(), chosen.end(),
                     [](const SchemeResult* a, const SchemeResult* b) {
                       const auto key = [](const SchemeResult* r) {
                         return std::pair(r->name != "as trained", r->measured.back().last);
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
      for (const auto& [end, nats] : r->measured.back().by_position)
        chart.lines.back().points.emplace_back(static_cast<double>(end), nats);
    }
    return chart;
  }

  [[nodiscard]] std::string write() const {
    const std::filesystem::path folder = setting.out;
    example::write_file(folder / "results.json",
                        json().dump(1, ' ', false, nlohmann::json::error_handler_t::replace) +
                            "\n");
    std::ostringstream html;
    html << example::page_head(shape.name + ", read beyond its trained length")
         << "<ul class=facts>\n";
    for (const std::string& fact : facts()) html << "<li>" << example::escaped(fact) << "\n";
    html << "<li>" << example::escaped(conclusion())
         << "\n</ul>\n<div class=wide><table>\n<thead><tr><th>scheme<th>tokens"
         << "<th>perplexity<th>seconds" << (setting.passkey ? "<th>keys found" : "")
         << "<th>parameters</tr></thead>\n";
    for (const SchemeResult& r : results)
      for (std::size_t i = 0; i < r.measured.size(); ++i) {
        html << "<tr><th>" << (i == 0 ? example::escaped(r.name) : "") << "<td>"
             << r.measured[i].length << "<td>" << fixed(r.measured[i].perplexity(), 3) << "<td>"
             << fixed(r.measured[i].seconds, 1);
        if (setting.passkey)
          html << "<td>"
               << (i < r.keys_found.size() ? std::to_string(r.keys_found[i]) + "/5" : "–");
        html << "<td>" << example::escaped(r.parameters[i]) << "</tr>\n";
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
