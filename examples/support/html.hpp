// SPDX-License-Identifier: MIT
//
// Pieces of an HTML page without external resources, for wide screens, phones, light and dark.
#pragma once

#include "gnuplot.hpp"
#include "page_style.hpp"

#include <iterator>

namespace example {

inline std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '&')
      safe += "&amp;";
    else if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '"')
      safe += "&quot;";
    else
      safe += c;
  }
  return safe;
}

inline void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// An SVG file as an element of the page, in the colours of the page.
inline std::string inline_svg(const std::filesystem::path& path, const std::string& title) {
  std::ifstream file(path);
  std::string svg{std::istreambuf_iterator<char>(file), {}};
  const auto start = svg.find("<svg");
  if (start == std::string::npos) return {};
  svg.erase(0, start);
  if (const auto name = svg.find("<title>"); name != std::string::npos)
    svg.replace(name, svg.find("</title>", name) - name, "<title>" + escaped(title));
  // gnuplot resets `color` in every group, and then means black by currentColor.
  for (const char* reset : {" color=\"black\"", " color=\"white\"", " color=\"gray\""})
    replace_all(svg, reset, "");
  replace_all(svg, "stroke=\"black\"", "stroke=\"currentColor\"");
  for (const char* ink : {"rgb( 51,  51,  51)", "rgb(51,51,51)"})
    replace_all(svg, ink, "currentColor");
  replace_all(svg, "stroke='rgb(221, 221, 221)'", "style='stroke:var(--line)'");
  return svg;
}

/// The beginning of a page, up to its first heading.
inline std::string page_head(const std::string& title) {
  return "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport "
         "content=\"width=device-width, initial-scale=1\">\n<title>" +
         escaped(title) + "</title>\n<style>" + page_style + "</style>\n<main>\n<h1>" +
         escaped(title) + "</h1>\n";
}

}  // namespace example
