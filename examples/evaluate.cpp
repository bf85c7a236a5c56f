// SPDX-License-Identifier: MIT
//
// evaluate --model FILE.gguf|FOLDER --text FILE [--lengths N,N] [--schemes E]... [--select M]... [--passkey] [--out DIR]
//
// What a scheme does to a real model: a text is read at and beyond the trained length, with one scheme after another, with all
// keys and with those that a method chooses.
#include "evaluate/report.hpp"
#include "evaluate/threads.hpp"
#include "evaluate/ways.hpp"
#include "support/progress.hpp"

#include <exception>
#include <iostream>

int main(int argc, char** argv) try {
  auto setting = evaluate::parse_command_line(argc, argv);
  if (!setting) return 0;
  example::make_folder(setting->out);
  const example::Progress progress("evaluate");
  const std::string text = evaluate::read_file(setting->text);
  progress.say("reading " + setting->model);
  const evaluate::LanguageModel model = evaluate::read_model(setting->model);
  const evaluate::LlamaShape& shape = model.llama.shape;
  const posenc::AnyExecutor executor = evaluate::threads_of("evaluate", setting->threads);
  std::vector<posenc::Index>& lengths = setting->lengths;
  if (lengths.empty()) lengths = {shape.trained(), 2 * shape.trained()};
  std::sort(lengths.begin(), lengths.end());
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  const posenc::Index longest = lengths.back();
  evaluate::Report report{.setting = *setting, .shape = shape};
  const std::vector<evaluate::Way> ways = evaluate::ways_to_read(shape, *setting, report.left_out);
  const std::vector<std::int32_t> tokens = evaluate::first_tokens(model, text, longest);

  report.options.last =
      std::min(report.options.last, lengths.front() - 1);  // the same ones at every length
  std::vector<evaluate::PassKeyPrompt> prompts;
  if (setting->passkey) prompts = evaluate::pass_key_prompts(model, lengths);
  evaluate::Results results(setting->out, evaluate::setting_of(lengths, report.options, model.llama,
                                                               tokens, model.first_token, prompts));
  results.save();  // so that a folder that cannot be written is told before the work
  for (const evaluate::Way& way : ways) {
    report.results.push_back({way.name});
    for (std::size_t at = 0; at < lengths.size(); ++at) {
      const posenc::Index length = lengths[at];
      // Within the trained length the default schemes have nothing to extend.
      if (setting->default_schemes && length <= shape.trained() && way.expression != "RoPE" &&
          longest > shape.trained())
        continue;
      const evaluate::Reading reading = evaluate::read_with(shape, way.expression, length);
      const std::string parameters =
          reading.text + (way.choosing ? "; keys by " + way.choosing->text() : "");
      if (!results.find(way.name, parameters, length)) {
        progress.say(way.name + " at " + std::to_string(length) + " tokens: " + parameters);
        evaluate::Line line{way.name, parameters};
        line.measured = evaluate::measure(model, tokens, length, reading.layers, report.options,
                                          executor, way.choosing);
        if (setting->passkey) {
          line.keys_found = 0;
          const std::size_t depths = prompts.size() / lengths.size();
          for (std::size_t i = 0; i < depths; ++i)
            *line.keys_found += evaluate::finds_pass_key(model.llama, prompts[at * depths + i],
                                                         reading.layers, executor, way.choosing);
        }
        results.lines.push_back(std::move(line));
        results.save();
      }
      report.results.back().lines.push_back(*results.find(way.name, parameters, length));
      static_cast<void>(report.write());  // what there is, in case of an interruption
    }
  }
  progress.clear();
  report.print(std::cout);
  std::cout << report.write() << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 2;
}
