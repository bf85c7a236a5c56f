// SPDX-License-Identifier: MIT
//
// Reading a command line: what is wrong with it is one sentence.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <CLI/CLI.hpp>

#include <string>

namespace example {

using posenc::Index;

/// False when the user only wanted help. Throws posenc::Error.
inline bool parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);
    return false;
  } catch (const CLI::ParseError& error) {
    throw posenc::Error(app.get_name(), {std::string(error.what()) + ". Try --help."});
  }
}

/// Numbers with commas: 1,048,576.
inline std::string with_commas(Index number) {
  const std::string digits = std::to_string(number);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

}  // namespace example
