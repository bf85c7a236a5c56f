// SPDX-License-Identifier: MIT
//
// lab [--preset smoke|quick|full] [--text FILE]... [--schemes A,B] [--select METHOD]... [--seeds N] [--out DIR]
//
// Which encoding should a model have, or which mixer in place of attention? Small transformers are trained on short texts,
// one for each scheme and seed, and
// tested on long ones. The one with RoPE is then read with the schemes that extend it, and trained on with some. The
// library's part is include/posenc/lab/; what is here chooses, keeps results and shows them.
#include "lab/page.hpp"
#include "lab/runs.hpp"

#include <exception>
#include <iostream>

int main(int argc, char** argv) try {
  auto setting = lab_example::parse_command_line(argc, argv);
  if (!setting) return 0;
  const posenc::lab::Text text = lab_example::read_text(*setting);
  std::cout << "Reads " << lab_example::text_in_words(*setting, text) << ".\n";
  example::make_folder(setting->out);
  lab_example::Results results(*setting);
  results.save();  // so that a folder that cannot be written is told before the work
  lab_example::Runs(*setting, text, results).all();
  lab_example::print_table(std::cout, *setting, results);
  std::cout << lab_example::write_page(*setting, results) << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 2;
}
