// SPDX-License-Identifier: MIT
//
// generate [--scheme NAME] [--tokens N] [--trained L] [--prompt 1,2,3] [--weights FILE] ...
//
// A small transformer continues a prompt of token ids greedily, beyond the length that it was
// "trained" on, through a cache per layer. At the end the logits of the last step are held against
// a run over the whole sequence from scratch, without a cache; a difference is an exit status of 1.
#include "generate/schemes.hpp"
#include "support/command_line.hpp"
#include "support/progress.hpp"

#include <chrono>
#include <exception>
#include <iostream>
#include <optional>

namespace {

using namespace generate;
using example::with_commas;

struct Arguments {
  Setting setting;
  std::string scheme = "longrope";
  std::vector<Index> prompt{};
  std::string weights{};
  unsigned seed = 1;
};

std::optional<Arguments> parse_command_line(int argc, char** argv) {
  CLI::App app{
      "Generates tokens with a small transformer through a key-value cache, and checks the "
      "last step against a\nrun without one."};
  app.name("generate");
  Arguments arguments;
  ModelShape& shape = arguments.setting.shape;
  const auto number = [&app](const char* name, auto& value, const char* what) {
    app.add_option(name, value, what)->type_name("N")->capture_default_str();
  };
  std::string names;
  for (const std::string_view name : scheme_names)
    names += (names.empty() ? "" : ", ") + std::string(name);
  app.get_formatter()->column_width(26);
  app.add_option("--scheme", arguments.scheme, names)->type_name("NAME")->capture_default_str();
  number("--tokens", arguments.setting.tokens, "length to reach, prompt and answer");
  number("--trained", arguments.setting.trained, "trained length, from which schemes extend");
  app.add_option("--prompt", arguments.prompt, "token ids (default: 16 from the seed)")
      ->delimiter(',')
      ->type_name("A,B");
  number("--seed", arguments.seed, "of weights and prompt");
  app.add_option("--weights", arguments.weights,
                 "file of raw floats in the order of\ngenerate/transformer.hpp (default: random)")
      ->type_name("FILE");
  number("--layers", shape.layers, "of attention and MLP");
  number("--heads", shape.heads, "query heads");
  number("--kv-heads", shape.kv_heads, "key and value heads");
  number("--head-dim", shape.head_dim, "channels of a head");
  number("--hidden", shape.hidden, "channels between layers");
  number("--mlp", shape.mlp, "channels within the MLP");
  number("--vocabulary", shape.vocabulary, "token ids");
  if (!example::parse(app, argc, argv)) return std::nullopt;

  posenc::Problems problems;
  shape.check(problems);
  if (problems.empty() && arguments.prompt.empty()) {
    std::mt19937 random(arguments.seed);
    for (int i = 0; i < 16; ++i)
      arguments.prompt.push_back(static_cast<Index>(random()) % shape.vocabulary);
  }
  for (const Index id : arguments.prompt)
    if (id < 0 || id >= shape.vocabulary)
      problems.add("--prompt: token ids must lie between 0 and ", shape.vocabulary - 1, ", got ",
                   id, ".");
  Setting& setting = arguments.setting;
  setting.prompt = std::ssize(arguments.prompt);
  problems.require(setting.tokens > setting.prompt && setting.tokens <= 1 << 20,
                   "--tokens must be more than the ", setting.prompt,
                   " of the prompt and at most 1,048,576, got ", setting.tokens, ".");
  problems.require(setting.trained >= 2 && setting.trained <= 1 << 20,
                   "--trained must lie between 2 and 1,048,576, got ", setting.trained, ".");
  problems.raise_if_any("generate");
  return arguments;
}

Index likeliest(const Matrix& logits) {
  Index best = 0;
  logits.row(logits.rows() - 1).maxCoeff(&best);
  return best;
}

struct Answer {
  std::vector<Index> ids;   ///< of prompt and answer
  Eigen::RowVectorXf last;  ///< logits of the last token
  double seconds;
};

template <class Memory>
Answer continue_prompt(const Transformer& model, const Arguments& arguments, Memory& memory) {
  const example::Progress progress("generate");
  const Index tokens = arguments.setting.tokens;
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  Answer answer{arguments.prompt, {}, 0};
  Index done = 0, said = 0;
  while (true) {
    const Index length = std::ssize(answer.ids);
    memory.begin(length);
    const Matrix logits = model.logits(
        std::span(answer.ids).subspan(static_cast<std::size_t>(done)),
        [&](auto layer, auto q, auto k, auto v, auto out) { memory.attend(layer, q, k, v, out); });
    done = length;
    if (const Index tenth = 10 * length / tokens; tenth > said) {
      said = tenth;
      progress.say(with_commas(length) + " of " + with_commas(tokens) + " tokens, " +
                   with_commas(static_cast<Index>(static_cast<double>(length) / seconds())) +
                   " tokens/s");
    }
    if (length == tokens) {
      answer.last = logits.row(logits.rows() - 1);
      answer.seconds = seconds();
      return answer;
    }
    answer.ids.push_back(likeliest(logits));
  }
}

void print_ids(const char* what, std::span<const Index> ids) {
  std::cout << what;
  constexpr std::size_t most = 24;
  for (const Index id : ids.first(std::min(ids.size(), most))) std::cout << " " << id;
  std::cout << (ids.size() > most ? " ...\n" : "\n");
}

/// Whether cache and decode led to what a run without them says.
template <class FromScratch>
bool check(const Transformer& model, const Answer& answer, const FromScratch& from_scratch) {
  const Matrix expected =
      model.logits(answer.ids, [&](auto layer, auto q, auto k, auto v, auto out) {
        from_scratch.attend(layer, q, k, v, out);
      });
  constexpr float bound = 1e-4F;
  const auto last = expected.row(expected.rows() - 1);
  const float greatest = last.cwiseAbs().maxCoeff();
  const float difference = (answer.last - last).cwiseAbs().maxCoeff<Eigen::PropagateNaN>();
  const bool equal = difference <= bound * greatest;  // NaN fails too
  std::cout << "last logits   differ by at most " << difference
            << " from those of a run from scratch,"
            << "\n              the greatest of which is " << greatest << ": "
            << (equal ? "equal" : "NOT EQUAL") << " (bound: " << bound << " of it)\n";
  return equal;
}

}  // namespace

int main(int argc, char** argv) try {
  const auto arguments = parse_command_line(argc, argv);
  if (!arguments) return 0;
  const Setting& setting = arguments->setting;
  const ModelShape& shape = setting.shape;
  bool equal = false;
  // The scheme first: its mistakes are cheaper than a model.
  with_scheme(arguments->scheme, setting,
              [&](const char* keys, auto& memory, const auto& from_scratch) {
                const Transformer model =
                    arguments->weights.empty()
                        ? Transformer(shape, arguments->seed)
                        : Transformer(shape, std::filesystem::path(arguments->weights));
                std::cout << "model         " << shape.layers << " layers, " << shape.heads
                          << " query heads on " << shape.kv_heads << " key heads of "
                          << shape.head_dim << " channels, " << with_commas(shape.num_weights())
                          << " weights\n"
                          << "scheme        " << arguments->scheme << ", trained on "
                          << setting.trained << " tokens: " << keys << "\n";
                const Answer answer = continue_prompt(model, *arguments, memory);
                const auto prompt = static_cast<std::size_t>(setting.prompt);
                print_ids("prompt       ", std::span(answer.ids).first(prompt));
                print_ids("answer       ", std::span(answer.ids).subspan(prompt));
                std::cout << "length        " << with_commas(setting.tokens) << " tokens in "
                          << answer.seconds << " s\n";
                if (const std::string what = memory.what_happened(); !what.empty())
                  std::cout << "              " << what << "\n";
                equal = check(model, answer, from_scratch);
              });
  return equal ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 2;
}
