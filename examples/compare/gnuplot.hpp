// SPDX-License-Identifier: MIT
//
// Gnuplot: data files and scripts in a folder, and the program that turns them into SVG.
//
// Everything stays in the folder, so a picture can be drawn again after a change: cd there, gnuplot NAME.gp.
#pragma once

#include <posenc/core/problems.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace compare {

/// Writes a file. Throws posenc::Error when that fails.
inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) throw posenc::Error("compare", {"cannot write " + path.string() + ": no permission, or no space."});
}

/// Makes the folder of the report, before any long work. Throws posenc::Error when that fails.
inline void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder / "data", error);
  if (error)
    throw posenc::Error("compare", {"cannot make the folder " + folder.string() + ": " + error.message() + "."});
}

/// One picture: a script, and tables of numbers that it reads.
struct Picture {
  std::string name;     ///< of the files
  std::string title;    ///< what to see
  std::string caption;  ///< how to read it
  int width = 1000, height = 500;
  std::string script;

  /// Colours of text, axes and grid, which the page replaces where it is dark.
  static constexpr const char* ink = "#333333";
  static constexpr const char* grid = "#dddddd";
};

inline bool has_gnuplot() { return std::system("command -v gnuplot >/dev/null 2>&1") == 0; }

/// What every script begins with.
inline std::string preamble(const Picture& picture) {
  std::ostringstream text;
  text << "# Draws " << picture.name << ".svg: " << picture.title << "\n"
       << "set terminal svg size " << picture.width << "," << picture.height << " dynamic noenhanced name '"
       << picture.name << "' font 'Helvetica,15'\n"
       << "set output '" << picture.name << ".svg'\n"
       << "set encoding utf8\n"
       << "set border 3 linecolor rgb '" << Picture::ink << "' linewidth 1\n"
       << "set tics nomirror out scale 0.5 textcolor rgb '" << Picture::ink << "'\n"
       << "set xlabel textcolor rgb '" << Picture::ink << "'\n"
       << "set ylabel textcolor rgb '" << Picture::ink << "'\n"
       << "set title textcolor rgb '" << Picture::ink << "'\n"
       << "set key textcolor rgb '" << Picture::ink << "'\n"
       << "set grid linecolor rgb '" << Picture::grid << "' linewidth 1 dashtype 1\n"
       << "set datafile missing 'nan'\n";
  return text.str();
}

/// Text for a gnuplot script.
inline std::string quoted(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) safe += c == '\'' ? std::string("''") : std::string(1, c);
  return safe + "'";
}

/// Writes the script and, with gnuplot, draws it. Returns whether there is an SVG.
inline bool draw(const std::filesystem::path& folder, const Picture& picture, bool gnuplot) {
  write_file(folder / (picture.name + ".gp"), preamble(picture) + picture.script);
  const std::filesystem::path svg = folder / (picture.name + ".svg");
  std::filesystem::remove(svg);
  if (!gnuplot) return false;
  std::FILE* pipe = popen("gnuplot", "w");
  if (!pipe) return false;
  const std::string commands = "cd " + quoted(folder.string()) + "\nload " + quoted(picture.name + ".gp") + "\n";
  std::fputs(commands.c_str(), pipe);
  const bool ended_well = pclose(pipe) == 0;
  std::error_code error;
  return ended_well && std::filesystem::file_size(svg, error) > 0 && !error;
}

}  // namespace compare
