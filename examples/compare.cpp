// SPDX-License-Identifier: MIT
//
// compare MODEL [--length N] [--schemes a,b,c | --all] [--text FILE] [--out DIR]
//
// Which scheme could read a model beyond its trained length? Those that apply to the model, ranked
// by what can be computed (rotary pairs that leave the angles of training, near scores, spread of
// attention, cost), beside the model at its trained length; with weights and a text also by what
// they lose. The parts, in the order in which they run, are in compare/.
#include "compare/command_line.hpp"
#include "compare/comparison.hpp"
#include "compare/loss.hpp"
#include "compare/report.hpp"
#include "compare/setting.hpp"
#include "compare/table.hpp"

#include <exception>
#include <iostream>
#include <optional>

int main(int argc, char** argv) try {
  const auto arguments = compare::parse_command_line(argc, argv);
  if (!arguments) return 0;
  const example::Progress progress("compare");
  const compare::Setting setting =
      compare::choose_setting(compare::read_positions(*arguments), *arguments);
  if (!arguments->out.empty()) compare::prepare_report(arguments->out);
  std::optional<compare::LossMeter> meter;
  if (!arguments->text.empty()) meter.emplace(*arguments, setting);
  compare::Comparison comparison = compare::compare_all(setting, *arguments, progress);
  if (meter) meter->measure(comparison, progress);
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
