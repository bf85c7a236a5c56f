// SPDX-License-Identifier: MIT
//
// One look for one scheme, in every picture of every program: name -> colour and dash.
//
// Names are compared by their letters and digits alone, so "NTK by parts" is NTKByParts; of an
// expression such as "RoPE|YaRN{factor=4}|Causal" the parts count that change something. Schemes
// that read a model differ from one another in colour or dash, and so do those that a model is
// trained with; a reading and a training may share a colour.
#pragma once

#include <cctype>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

namespace example {

/// Letters and digits, small.
inline std::string plain(std::string_view name) {
  std::string text;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)))
      text += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// "YaRN+ReRoPE" of "RoPE|YaRN{factor=4}|ReRoPE{window=8}|Causal"; "RoPE" where nothing else is written.
inline std::string short_name(std::string_view expression) {
  std::string text, part;
  int depth = 0;
  const auto end_part = [&] {
    const std::string key = plain(part);
    if (!key.empty() && key != "rope" && key != "causal") text += (text.empty() ? "" : "+") + part;
    part.clear();
  };
  for (const char c : expression) {
    depth += c == '{' ? 1 : 0;
    if (depth == 0 && c == '|') end_part();
    if (depth == 0 && c != '|' && c != ' ') part += c;
    depth -= c == '}' ? 1 : 0;
  }
  end_part();
  return text.empty() ? "RoPE" : text;
}

struct Look {
  const char* colour;
  int dash = 1;  ///< of gnuplot
};

/// Okabe and Ito's palette for all kinds of colour vision, without black and yellow, first; then darker ones.
inline Look look_of(std::string_view name) {
  struct Known {
    const char *name, *colour;
    int dash = 1;
  };
  static constexpr Known known[] = {
      {"rope", "#777777"},
      {"astrained", "#777777"},
      // readings of a trained model
      {"pi", "#0072B2"},
      {"ntk", "#D55E00"},
      {"yarn", "#CC79A7"},
      {"selfextend", "#E69F00"},
      {"rerope", "#009E73"},
      {"reropelogn", "#009E73", 2},
      {"leakyrerope", "#56B4E9", 2},
      {"ntkbyparts", "#332288"},
      {"abf", "#882255"},
      {"dualchunk", "#661100"},
      {"llama3", "#999933"},
      {"longrope", "#44AA99"},
      {"dynamicntk", "#D55E00", 2},
      {"dynamicyarn", "#CC79A7", 2},
      {"streamingllm", "#6A3D9A"},
      {"lminfinite", "#6A3D9A", 2},
      {"logn", "#777777", 2},
      {"slidingwindow", "#B15928"},
      // what a model is trained with
      {"alibi", "#0072B2"},
      {"alibiinterpolated", "#0072B2", 2},
      {"t5", "#D55E00"},
      {"t5bias", "#D55E00"},
      {"sinusoidal", "#CC79A7"},
      {"nope", "#E69F00"},
      {"hwfa", "#009E73"},
      {"xpos", "#56B4E9"},
      {"kerplelog", "#882255"},
      {"kerplepower", "#882255", 2},
      {"sandwich", "#44AA99"},
      {"fire", "#332288"},
      {"truncatedbasis", "#661100"},
      {"powerscaling", "#999933"},
      {"proportional", "#6A3D9A"},
      {"retnet", "#8C6D31"},
      {"gla", "#117733"},
      {"glanope", "#117733", 2},
      {"rwkv6", "#AA4499"},
      {"mamba", "#1F4E79"},
      {"mamba2", "#1F4E79", 2},
  };
  const std::string key = plain(name.find('|') == std::string_view::npos ? name : short_name(name));
  for (const Known& one : known)
    if (key == one.name) return {one.colour, one.dash};
  // Any other has a colour that follows from its name, and a dash of its own.
  static constexpr const char* others[] = {"#117733", "#AA4499", "#1F4E79", "#8C6D31", "#555555"};
  std::uint32_t hash = 2166136261U;
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return {others[hash % std::size(others)], 4};
}

}  // namespace example
