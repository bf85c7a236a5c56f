// SPDX-License-Identifier: MIT
//
// Page: everything in one HTML file without external resources, for wide screens, phones, light and
// dark.
#pragma once

#include "../support/html.hpp"
#include "table.hpp"

namespace compare {

inline constexpr const char* page_legend = R"html(
<p class=legend><b>Reference</b>: the model at its trained length. <b>Pairs out</b>: rotary pairs that reach, at the asked length, angles
that training never showed (pairs that came full circle in training have seen them all); <b>worst angle</b>: how far beyond, at most.
<b>Neighbours' step</b>: what the fastest pair turns from a token to the next, against training; far below 1, words that stood side by side
look like one. <b>Near change</b>: how far mean scores within a quarter of the trained length lie from the model's own, in nats,
temperature aside. <b>Scores times</b>: the square of the attention factor and all temperatures. <b>Keys</b>: e<sup><i>H</i></sup>, with
<i>H</i> the entropy of attention; <b>of reference</b>: times as many as there. <b>Cache</b>: whether it may hold keys that were
rotated at their own positions, or must hold raw ones. Ranked by class, then by near change, keys and time.</p>
)html";

inline std::string table_cell(const std::string& text, const char* kind = "") {
  return std::string("<td") + kind + ">" +
         (text == "-" ? "<span class=none>–</span>" : escaped(text)) + "</td>";
}

/// The line below a row: what it is made of, and where that comes from.
inline std::string parameters_line(const Row& row, const std::string& span) {
  std::string html =
      "<tr class=how><td colspan=" + span + "><code>" + escaped(row.parameters) + "</code>";
  for (const std::string& why : {row.rule, row.why_not})
    if (!why.empty()) html += " · " + escaped(why);
  return html + "</tr>\n";
}

inline std::string html_table(const Comparison& c) {
  const bool losses = !c.loss_facts.empty();
  std::ostringstream html;
  html << "<div class=wide><table>\n<thead><tr><th>scheme, and where its parameters come from"
       << (losses ? "<th>loss, nats" : "")
       << "<th>pairs out<th>worst angle<th>neighbours' step<th>near change<th>scores "
          "times<th>keys<th>of reference"
          "<th>time<th>cache</tr></thead>\n";
  const std::string span = losses ? "11" : "10";
  for_each_shown(
      c,
      [&](const std::string& title) {
        html << "<tbody><tr class=family><th colspan=" << span << ">" << escaped(title)
             << "</tr>\n";
      },
      [&](const Row& row, int rank) {
        const RotationReport& r = row.rotation;
        const bool timed = row.kind != Row::reference;
        const bool own =
            row.kind == Row::reference || row.kind == Row::configured || row.kind == Row::baseline;
        html << "<tr class='scheme" << (own ? " own" : "") << "'><th title=\""
             << escaped(row.source) << "\">" << (rank > 0 ? std::to_string(rank) + ". " : "")
             << escaped(row.name);
        if (losses) html << table_cell(loss_text(row));
        html << table_cell(pairs_text(r), r.pairs_out > 0 ? " class=out" : "")
             << table_cell(ratio_text(r, "×"))
             << table_cell(r.rotates() ? factor_text(r.step) : "-",
                           r.step < least_step ? " class=out" : "")
             << table_cell(timed ? fixed(row.evidence.near_change, 2) : "-")
             << table_cell(fixed(r.score_factor, 2))
             << table_cell(fixed(row.scores.effective_keys, 0))
             << table_cell("×" + spread_text(row))
             << table_cell(timed ? factor_text(row.relative_time) + "×" : "-")
             << table_cell(row.raw_keys ? "raw" : "any") << "</tr>\n"
             << parameters_line(row, span);
      });
  html << "</table></div>\n";
  return html.str();
}

struct DrawnPicture {
  std::string name, title, caption;
  bool drawn = false;
};

/// What stands between backquotes as code.
inline std::string with_code(const std::string& line) {
  std::string html;
  bool code = false;
  for (const char c : escaped(line))
    if (c == '`')
      html += std::exchange(code, !code) ? "</code>" : "<code>";
    else
      html += c;
  return html;
}

/// The recommendation, and where to read how schemes were measured.
inline std::string advice_html(const Comparison& c, const std::filesystem::path& folder) {
  std::ostringstream html;
  html << "<div class=advice>\n";
  bool first = true;
  for (const std::string& line : advice_of(c))
    html << (std::exchange(first, false) ? "<p><b>" + with_code(line) + "</b>"
                                         : "<p>" + with_code(line))
         << "\n";
  const std::filesystem::path judging =
      (std::filesystem::path(POSENC_MODELS_DIR) / ".." / ".." / "docs" / "judging.md")
          .lexically_normal();
  std::error_code error;
  std::filesystem::path link = std::filesystem::relative(judging, folder, error);
  if (error || link.empty()) link = judging;
  html << "<p>What schemes did to small models and to a real one, as curves and tables: <a href=\""
       << escaped(link.generic_string()) << "\">docs/judging.md</a>.\n</div>\n";
  return html.str();
}

inline std::string page(const Comparison& c, const std::filesystem::path& folder,
                        const std::vector<DrawnPicture>& pictures) {
  const Setting& at = c.setting;
  const std::string title = at.model.model_type + ": " + short_count(at.trained) + " to " +
                            short_count(at.target) + " tokens";
  std::ostringstream html;
  html << page_head(title) << advice_html(c, folder) << "<ul class=facts>\n";
  for (const std::string& fact : facts(c)) html << "<li>" << escaped(fact) << "\n";
  html << "</ul>\n" << html_table(c) << page_legend;
  html << "<ul class=facts>\n";
  for (const std::string& sentence : notes(c)) html << "<li>" << escaped(sentence) << "\n";
  html << "</ul>\n";
  const bool none =
      std::none_of(pictures.begin(), pictures.end(), [](const auto& p) { return p.drawn; });
  if (none && !pictures.empty())
    html << "<p class=warning>The pictures are missing because gnuplot is not installed. Their "
            "scripts and "
            "data lie beside this page: install "
            "gnuplot and run it again, or draw one with <code>gnuplot angles.gp</code>.</p>\n";
  for (const DrawnPicture& picture : pictures) {
    if (!picture.drawn) continue;
    html << "<figure>\n<div class=wide>"
         << inline_svg(folder / (picture.name + ".svg"), picture.title) << "</div>\n<figcaption>"
         << escaped(picture.caption) << "</figcaption>\n</figure>\n";
  }
  posenc::config::ExplainOptions options{.length = at.target};
  html << "<details><summary>What was understood of the configuration</summary>\n<pre>"
       << escaped(explain(at.model, options)) << "</pre></details>\n"
       << "</main>\n</html>\n";
  return html.str();
}

}  // namespace compare
