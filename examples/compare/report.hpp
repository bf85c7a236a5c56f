// SPDX-License-Identifier: MIT
//
// Report: the folder with page, pictures, scripts and data.
#pragma once

#include "distance_picture.hpp"
#include "page.hpp"
#include "rotary_pictures.hpp"
#include "score_pictures.hpp"

namespace compare {

/// The folder and a file in it, so that a wrong --out is told before the work. Throws
/// posenc::Error.
inline void prepare_report(const std::filesystem::path& folder) {
  make_folder(folder);
  write_file(
      folder / "data" / "README.txt",
      "Numbers behind the pictures, a file per curve or panel; the first line names the columns.\n"
      "To draw a picture again: cd to the folder above and run gnuplot NAME.gp.\n");
}

/// The table as numbers.
inline std::string table_data(const Comparison& c) {
  std::ostringstream text;
  text << "scheme\tsource\tpairs\tpairs_out\tworst_ratio\tattention_factor\tscore_factor";
  for (const Position d : probes(c.setting)) text << "\tscore_at_" << d;
  text << "\tentropy_nats\teffective_keys\tshare_beyond_training\trelative_time\n";
  for (const Row& row : c.rows) {
    const RotationReport& r = row.rotation;
    text << row.name << "\t" << row.source << "\t" << r.before.size() << "\t" << r.pairs_out << "\t"
         << r.worst_ratio << "\t" << r.attention_factor << "\t" << r.score_factor;
    for (const DistanceBin& bin : row.scores.probe) text << "\t" << bin.mean();
    text << "\t" << row.scores.entropy << "\t" << row.scores.effective_keys << "\t"
         << row.scores.beyond << "\t" << row.relative_time << "\n";
  }
  return text.str();
}

/// Writes everything and returns what to tell the user.
inline std::string write_report(const Comparison& c, const std::filesystem::path& folder,
                                Progress& progress) {
  const bool gnuplot = has_gnuplot();
  std::vector<DrawnPicture> pictures;
  std::vector<std::string> failed;
  for (const auto& make :
       {angle_picture, rescale_picture, distance_picture, bias_picture, decay_picture}) {
    const auto picture = make(c, folder);
    if (!picture) continue;  // nothing of the kind was compared
    progress.say("drawing " + picture->name);
    pictures.push_back(
        {picture->name, picture->title, picture->caption, draw(folder, *picture, gnuplot)});
    if (gnuplot && !pictures.back().drawn) failed.push_back(picture->name);
  }
  write_file(folder / "data" / "table.tsv", table_data(c));
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
