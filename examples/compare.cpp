// SPDX-License-Identifier: MIT
//
// compare MODEL.json [--length N] [--schemes a,b,c] [--out DIR]
//
// Every scheme of the library on the shape of one model, side by side: which rotary pairs leave the
// angles of training, how scores decay with distance, how spread out attention is at the target
// length, what it costs. The parts, in the order in which they run, are in compare/.
#include "compare/command_line.hpp"
#include "compare/comparison.hpp"
#include "compare/report.hpp"
#include "compare/setting.hpp"
#include "compare/table.hpp"

#include <exception>
#include <iostream>

int main(int argc, char** argv) try {
  const auto arguments = compare::parse_command_line(argc, argv);
  if (!arguments) return 0;
  const compare::Setting setting = compare::choose_setting(*arguments);
  if (!arguments->out.empty()) compare::prepare_report(arguments->out);
  compare::Progress progress;
  const compare::Comparison comparison = compare::compare_all(setting, *arguments, progress);
  progress.clear();
  compare::print_table(std::cout, comparison);
  if (arguments->out.empty()) {
    std::cout << "Add --out DIR for pictures, a page and the data.\n";
  } else {
    const std::string message = compare::write_report(comparison, arguments->out, progress);
    progress.clear();
    std::cout << message << "\n";
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 2;
}
