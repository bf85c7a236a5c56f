// SPDX-License-Identifier: MIT
//
// Gnuplot: data files and scripts in a folder, and the program that turns them into SVG.
//
// Everything stays in the folder, so a picture can be drawn again after a change: cd there, gnuplot
// NAME.gp.
#pragma once

#include <posenc/core/problems.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace example {

/// Writes a file. Throws posenc::Error when that fails.
inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) throw posenc::Error(path.string(), {"cannot be written: no permission, or no space."});
}

/// Makes the folder of the report, before any long work. Throws posenc::Error when that fails.
inline void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder / "data", error);
  if (error)
    throw posenc::Error(folder.string(), {"this folder cannot be made: " + error.message() + "."});
}

/// Text for a gnuplot script.
inline std::string quoted(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) safe += c == '\'' ? std::string("''") : std::string(1, c);
  return safe + "'";
}

/// A picture: the commands that draw it, built line by line. Lengths are in pixels, from the top
/// left.
class Picture {
 public:
  /// The colours of text, axes and grid, which the page replaces where it is dark.
  static constexpr const char *ink = "#333333", *grid = "#dddddd", *shade = "#999999";

  Picture(std::string name_, std::string title_, int height, int width = 1000)
      : name(std::move(name_)), title(std::move(title_)), width_(width), height_(height) {
    line("# Draws ", name, ".svg: ", title, ".");
    line("set terminal svg size ", width_, ",", height_, " dynamic noenhanced name '", name,
         "' font 'Helvetica,15'");
    line("set output '", name, ".svg'");
    line("set encoding utf8");
    line("set border 3 linecolor rgb '", ink, "' linewidth 1");
    line("set tics nomirror out scale 0.5 textcolor rgb '", ink, "'");
    for (const char* part : {"xlabel", "ylabel", "key"})
      line("set ", part, " textcolor rgb '", ink, "'");
    line("set xtics offset 0,0.4");
    line("set grid linecolor rgb '", grid, "' linewidth 1 dashtype 1");
    label(title_label, title, on_screen(12, 22), 19);
  }

  std::string name;     ///< of the files
  std::string title;    ///< what to see
  std::string caption;  ///< how to read it

  template <class... Parts>
  void line(const Parts&... parts) {
    (script_ << ... << parts) << "\n";
  }

  [[nodiscard]] std::string script() const { return script_.str(); }
  [[nodiscard]] int width() const { return width_; }

  [[nodiscard]] std::string on_screen(double x, double y) const {
    return "screen " + std::to_string(x / width_) + ",screen " + std::to_string(1 - y / height_);
  }

  void label(int id, const std::string& text, const std::string& at, int size,
             const char* colour = ink) {
    line("set label ", id, " ", quoted(text), " at ", at, " font ',", size, "' textcolor rgb '",
         colour, "'");
  }
  void rectangle(int id, const std::string& from, const std::string& to, const char* colour,
                 const char* fill) {
    line("set object ", id, " rectangle from ", from, " to ", to, " fillcolor rgb '", colour,
         "' fillstyle ", fill, " noborder behind");
  }
  /// A dashed line across the panel at x or at y.
  void mark_x(int id, double x) { mark(id, x, ",graph 0", x, ",graph 1"); }
  void mark_y(int id, double y) { mark(id, "graph 0,first ", y, "graph 1,first ", y); }

  /// Where the axes of the next plot lie.
  void axes(double left, double right, double top, double bottom) {
    line("set lmargin at screen ", left / width_, "; set rmargin at screen ", right / width_);
    line("set tmargin at screen ", 1 - top / height_, "; set bmargin at screen ",
         1 - bottom / height_);
  }
  void axis_label(char axis, const std::string& text, int size = 15) {
    line("set ", axis, "label ", quoted(text), " offset ",
         axis == 'x' ? "0,0.8"
         : size < 15 ? "1.5,0"
                     : "0.3,0",
         " font ',", size, "'");
  }
  /// Removes labels, arrows and objects first .. last, and the title: they are drawn once.
  void drawn(int first, int last) {
    line("unset label ", title_label);
    for (int id = first; id <= last; ++id)
      line("unset label ", id, "; unset object ", id, "; unset arrow ", id);
  }

 private:
  static constexpr int title_label = 1;

  template <class X0, class Y0, class X1, class Y1>
  void mark(int id, const X0& x0, const Y0& y0, const X1& x1, const Y1& y1) {
    line("set arrow ", id, " from ", x0, y0, " to ", x1, y1, " nohead linecolor rgb '", ink,
         "' dashtype 2");
  }

  int width_, height_;
  std::ostringstream script_;
};

inline bool has_gnuplot() { return std::system("command -v gnuplot >/dev/null 2>&1") == 0; }

/// Writes the script and, with gnuplot, draws it. Returns whether there is an SVG.
inline bool draw(const std::filesystem::path& folder, const Picture& picture, bool gnuplot) {
  write_file(folder / (picture.name + ".gp"), picture.script());
  const std::filesystem::path svg = folder / (picture.name + ".svg");
  std::filesystem::remove(svg);
  if (!gnuplot) return false;
  std::FILE* pipe = popen("gnuplot", "w");
  if (!pipe) return false;
  const std::string commands =
      "cd " + quoted(folder.string()) + "\nload " + quoted(picture.name + ".gp") + "\n";
  std::fputs(commands.c_str(), pipe);
  const bool ended_well = pclose(pipe) == 0;
  std::error_code error;
  return ended_well && std::filesystem::file_size(svg, error) > 0 && !error;
}

}  // namespace example
