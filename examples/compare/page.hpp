// SPDX-License-Identifier: MIT
//
// Page: everything in one HTML file without external resources, for wide screens, phones, light and
// dark.
#pragma once

#include "../support/html.hpp"
#include "table.hpp"

namespace compare {

inline constexpr const char* page_legend = R"html(
<p class=legend><b>Pairs out</b>: rotary pairs that reach, at the target length, angles that training never showed (pairs that came full
circle in training have seen them all); <b>worst angle</b>: how far beyond, at most. <b>Scores times</b>: the square of the attention
factor and all temperatures. <b>Effective keys</b>: e<sup><i>H</i></sup>, with <i>H</i> the entropy of the attention; <i>H</i> / ln
<i>n</i> is 1 where attention is uniform. <b>Beyond training</b>: share of the attention on distances greater than the trained length.
<b>Time</b>: against plain RoPE, or no encoding where the model does not rotate. The contents are synthetic, so this shows what schemes do
to scores, not how well a model reads.</p>
)html";

inline std::string table_cell(const std::string& text, const char* kind = "") {
  return std::string("<td") + kind + ">" +
         (text == "-" ? "<span class=none>–</span>" : escaped(text)) + "</td>";
}

inline std::string html_table(const Comparison& c) {
  std::ostringstream html;
  html << "<div class=wide><table>\n<thead><tr><th rowspan=2>scheme<th rowspan=2>pairs out<th "
          "rowspan=2>worst angle"
          "<th rowspan=2>attention factor<th rowspan=2>scores times<th colspan=4>mean score at "
          "distance"
          "<th rowspan=2>effective keys<th rowspan=2><i>H</i>&nbsp;/&nbsp;ln&nbsp;<i>n</i><th "
          "rowspan=2>beyond training<th rowspan=2>time</tr>\n<tr>";
  for (const Position d : probes(c.setting)) html << "<th>" << short_count(d);
  html << "</tr></thead>\n";
  const Row* last = nullptr;
  for (const Row& row : c.rows) {
    if (!row.configured && (!last || last->configured || last->family != row.family))
      html << "<tbody><tr class=family><th colspan=13>" << family_title(row.family) << "</tr>\n";
    const RotationReport& r = row.rotation;
    html << "<tr" << (row.configured ? " class=own" : "") << "><th title=\"" << escaped(row.source)
         << "\">" << escaped(row.name)
         << table_cell(pairs_text(r), r.pairs_out > 0 ? " class=out" : "")
         << table_cell(ratio_text(r, "×"))
         << table_cell(r.rotates() ? fixed(r.attention_factor, 3) : "-")
         << table_cell(fixed(r.score_factor, 3));
    for (const DistanceBin& bin : row.scores.probe) html << table_cell(score_text(bin.mean()));
    html << table_cell(fixed(row.scores.effective_keys, 0))
         << "<td class=bar style=\"--share:" << fixed(100 * row.scores.relative, 0) << "%\">"
         << fixed(row.scores.relative, 2) << "</td>"
         << table_cell(fixed(100 * row.scores.beyond, 0) + "%")
         << table_cell(fixed(row.relative_time, 2) + "×") << "</tr>\n";
    last = &row;
  }
  html << "</table></div>\n";
  return html.str();
}

struct DrawnPicture {
  std::string name, title, caption;
  bool drawn = false;
};

inline std::string page(const Comparison& c, const std::filesystem::path& folder,
                        const std::vector<DrawnPicture>& pictures) {
  const Setting& at = c.setting;
  const std::string title = at.model.model_type + ": " + short_count(at.trained) + " to " +
                            short_count(at.target) + " tokens";
  std::ostringstream html;
  html << page_head(title) << "<ul class=facts>\n";
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
