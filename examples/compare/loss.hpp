// SPDX-License-Identifier: MIT
//
// Loss: what a model with weights makes of a text, by the code of examples/evaluate.
//
// The model as trained at its trained length is measured first, then the model unchanged at the
// asked length, then the schemes in the order of the ranking, as long as the minutes last. All are
// scored on the same last tokens.
#pragma once

#include "comparison.hpp"

#if defined(POSENC_EXAMPLES_PCRE2)
#include "../evaluate/measure.hpp"
#include "../evaluate/threads.hpp"
#endif

namespace compare {

#if defined(POSENC_EXAMPLES_PCRE2)

class LossMeter {
 public:
  /// Reads the weights and the text. Throws posenc::Error.
  LossMeter(const Arguments& arguments, const Setting& at) try
      : weights_(evaluate::read_model(arguments.model)),
        executor_(evaluate::threads_of("compare", arguments.threads)),
        tokens_(evaluate::first_tokens(weights_, evaluate::read_file(arguments.text),
                                       std::max<Index>(at.trained, at.target))),
        seconds_(60 * arguments.minutes) {
    posenc::Problems problems;
    problems.require(std::min(at.trained, at.target) >= 64,
                     "--text: the trained and the asked length must be 64 tokens or more to "
                     "measure a loss, got ",
                     at.trained, " and ", at.target, ".");
    problems.raise_if_any("compare");
    options_.last = std::min<Index>({2048, at.trained - 1, at.target - 1});
  } catch (const posenc::Error& error) {  // the readers' sentences, said by this program
    throw posenc::Error("compare", error.problems());
  }

  void measure(Comparison& c, const example::Progress& progress) {
    const Setting& at = c.setting;
    for (Row& row : c.rows)
      if (row.kind == Row::reference) one(row, at.trained, progress);
    for (Row& row : c.rows)
      if (row.kind == Row::baseline) one(row, at.target, progress);
    for (const std::size_t place : c.order)
      if (c.rows[place].kind != Row::baseline) one(c.rows[place], at.target, progress);
    c.loss_facts = {
        "Loss: nats per token of the last " + std::to_string(options_.last) + " of the first " +
        std::to_string(tokens_.size()) + " tokens of the text, the same ones at both lengths" +
        (unmeasured_ > 0
             ? "; " + std::to_string(unmeasured_) + " schemes did not fit into the time (--minutes)"
             : "") +
        "."};
    c.rank();
  }

 private:
  /// Measures a row unless it would take longer than is left.
  void one(Row& row, Index length, const example::Progress& progress) {
    if (spent_ > 0 && spent_ + slowest_ > seconds_) {
      ++unmeasured_;
      return;
    }
    progress.say("loss of " + row.name + " at " + std::to_string(length) + " tokens");
    const evaluate::Measured m =
        evaluate::measure(weights_, tokens_, length,
                          evaluate::layers_with(weights_.llama.shape, row.adapted.encoding),
                          options_, executor_);
    row.evidence.nats = m.last;
    row.by_position = m.by_position;
    spent_ += m.seconds;
    slowest_ = std::max(slowest_, m.seconds);
  }

  evaluate::LanguageModel weights_;
  posenc::AnyExecutor executor_;
  std::vector<std::int32_t> tokens_;
  evaluate::MeasureOptions options_{};
  double seconds_, spent_ = 0, slowest_ = 0;
  int unmeasured_ = 0;
};

#else

struct LossMeter {
  LossMeter(const Arguments&, const Setting&) {
    throw posenc::Error(
        "compare", {"--text: this program was built without PCRE2 (Debian: libpcre2-dev), which "
                    "reading a text needs. Leave --text out: what geometry says needs no text."});
  }
  void measure(Comparison&, const example::Progress&) {}
};

#endif

}  // namespace compare
