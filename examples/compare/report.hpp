// SPDX-License-Identifier: MIT
//
// Report: the folder with page, pictures, scripts and data.
#pragma once

#include "angle_picture.hpp"
#include "bias_picture.hpp"
#include "charts.hpp"
#include "page.hpp"

namespace compare {

/// The folder and a file in it, so that a wrong --out is told before the work. Throws
/// posenc::Error.
inline void prepare_report(const std::filesystem::path& folder) {
  make_folder(folder);
  write_file(
      folder / "data" / "README.txt",
      "Numbers behind the pictures, a file per curve or panel; the first line names the columns.\n"
      "table.tsv has all rows, decay.tsv the mean scores of all rows by distance.\n"
      "To draw a picture again: cd to the folder above and run gnuplot NAME.gp.\n");
}

/// The table as numbers.
inline std::string table_data(const Comparison& c) {
  std::ostringstream text;
  text << "scheme\tparameters\tsource\tranked\tpairs\tpairs_out\tworst_ratio\tneighbour_step\tnear_"
          "change_nats\t"
          "attention_factor\tscore_factor\tentropy_nats\teffective_keys\tshare_beyond_"
          "training\trelative_time\t"
          "loss_nats\n";
  for (const Row& row : c.rows) {
    const RotationReport& r = row.rotation;
    text << row.name << "\t" << row.parameters << "\t" << row.source << "\t"
         << (row.is_ranked() ? 1 : 0) << "\t" << r.before.size() << "\t" << r.pairs_out << "\t"
         << r.worst_ratio << "\t" << r.step << "\t" << row.evidence.near_change << "\t"
         << r.attention_factor << "\t" << r.score_factor << "\t" << row.scores.entropy << "\t"
         << row.scores.effective_keys << "\t" << row.scores.beyond << "\t" << row.relative_time
         << "\t" << row.evidence.nats.value_or(NAN) << "\n";
  }
  return text.str();
}

/// Mean scores of all rows by distance.
inline std::string decay_data(const Comparison& c) {
  std::ostringstream text;
  text << "scheme\tfirst\tlast\tmean_score\n";
  for (const Row& row : c.rows)
    for (const DistanceBin& bin : row.scores.decay)
      text << row.name << "\t" << bin.first << "\t" << bin.last << "\t" << bin.mean() << "\n";
  return text.str();
}

/// Writes everything and returns what to tell the user.
inline std::string write_report(const Comparison& c, const std::filesystem::path& folder,
                                const Progress& progress) {
  const bool gnuplot = has_gnuplot();
  std::vector<Picture> drawings;
  for (const auto& make : {angle_picture, bias_picture})
    if (auto picture = make(c, folder)) drawings.push_back(std::move(*picture));
  for (const Chart& chart : charts(c)) drawings.push_back(draw_chart(chart, folder));
  std::vector<DrawnPicture> pictures;
  std::vector<std::string> failed;
  for (const Picture& picture : drawings) {
    progress.say("drawing " + picture.name);
    pictures.push_back(
        {picture.name, picture.title, picture.caption, draw(folder, picture, gnuplot)});
    if (gnuplot && !pictures.back().drawn) failed.push_back(picture.name);
  }
  write_file(folder / "data" / "table.tsv", table_data(c));
  write_file(folder / "data" / "decay.tsv", decay_data(c));
  write_file(folder / "compare.html", page(c, folder, pictures));
  std::string message = "Wrote " + (folder / "compare.html").string();
  if (!gnuplot)
    message +=
        ", without pictures because gnuplot is not installed; their scripts and data are in the "
        "same folder";
  else
    message += " and " + std::to_string(pictures.size()) + " pictures";
  for (const std::string& name : failed) message += "; gnuplot could not draw " + name + ".gp";
  return message + ".";
}

}  // namespace compare
