// SPDX-License-Identifier: MIT
//
// What to begin with, why, and what nobody has measured.
#pragma once

#include "../support/text.hpp"
#include "ranking.hpp"

namespace compare {

/// One ranked scheme, as sentences need it.
struct Choice {
  std::string name, parameters;
  Evidence evidence{};
  bool raw_keys = false;    ///< a cache has to hold keys as they were before rotation
  bool unchanged = false;   ///< the model as trained
  bool configured = false;  ///< the scheme of the model's file
};

/// What was asked.
struct Question {
  std::int64_t trained = 0, target = 0, promised = 0;  ///< tokens; promised: by the file
  bool rotates = true, alibi = false;
};

/// "PI (`PI{factor=4}`)": what stands between backquotes is to be copied.
inline std::string with_parameters(const Choice& choice) {
  return choice.name + (choice.parameters.empty() ? "" : " (`" + choice.parameters + "`)");
}

/// The reasons for a choice, in one sentence. `of_losses`: it was chosen by its loss.
inline std::string reasons(const Choice& choice, bool of_losses) {
  using example::fixed;
  const Evidence& e = choice.evidence;
  std::string text = "Why: ";
  if (of_losses && e.nats)
    text += "it has the least measured loss, " + fixed(*e.nats, 3) + " nats per token; ";
  text += e.pairs_out == 0 ? "no rotary pair leaves the angles of training"
                           : std::to_string(e.pairs_out) +
                                 " rotary pairs leave the angles of training, by up to " +
                                 fixed(e.worst_ratio, 2) + " times";
  text += ", near scores change by " + fixed(e.near_change, 1) + " nats, ";
  text += e.reads_all ? "every token is read, " : "not every token is read, ";
  text += "attention spreads over " + fixed(std::exp(e.entropy_change()), 1) +
          " times as many keys as at the trained length, and takes " + fixed(e.time, 2) +
          " times the time.";
  if (choice.raw_keys) text += " A cache has to hold raw keys.";
  return text;
}

/// Sentences, the recommendation first. `ordered` is as ranked, the best first.
inline std::vector<std::string> advice(const Question& question,
                                       const std::vector<Choice>& ordered) {
  using example::short_count;
  std::vector<std::string> lines;
  if (ordered.empty()) return {"No scheme fits this model."};
  const auto find = [&](auto&& holds) -> const Choice* {
    const auto found = std::find_if(ordered.begin(), ordered.end(), holds);
    return found == ordered.end() ? nullptr : &*found;
  };
  const std::string target = short_count(question.target);
  if (question.target <= question.trained)
    return {"Nothing has to be extended: " + target + " tokens lie within the trained length of " +
            short_count(question.trained) + ". Give a longer one with --length."};
  if (!question.rotates)
    return {
        std::string(question.alibi ? "These layers have ALiBi"
                                   : "These layers have no positions in attention") +
        ": no angle is left, so geometry says little here. " +
        (question.alibi
             ? "ALiBi reads on by itself, its steep heads see only what is near; interpolated "
               "slopes "
               "(the row ALiBi interpolated) keep the trained range of biases."
             : "What is added to the input of the model, if anything, decides how far it reads.")};

  const Choice* best = &ordered.front();
  const Choice* own = find([](const Choice& c) { return c.configured; });
  const Choice* unchanged = find([](const Choice& c) { return c.unchanged; });
  std::vector<Evidence> evidence;
  for (const Choice& c : ordered) evidence.push_back(c.evidence);
  const bool measured = losses_decide(evidence);
  if (!measured && std::any_of(evidence.begin(), evidence.end(),
                               [](const Evidence& e) { return e.nats.has_value(); }))
    lines.push_back(
        "No loss of a scheme was measured, only that of the model as it is: what follows is of "
        "geometry. Give more --minutes.");
  if (!measured && unchanged && class_of(unchanged->evidence) == Class::within) {
    lines.push_back("Change nothing: in these layers no pair leaves the angles of training at " +
                    target + " tokens.");
  } else if (!measured && own && question.target <= question.promised) {
    lines.push_back("Keep what the file says, `" + own->parameters +
                    "`: its makers publish the model for " + short_count(question.promised) +
                    " tokens with it, and may have trained with it.");
    const auto place = own - ordered.data() + 1;
    if (place > 1)
      lines.push_back("Of that training nothing is known here: seen from the first " +
                      short_count(question.trained) + " tokens alone it is number " +
                      std::to_string(place) + " of " + std::to_string(ordered.size()) + ", and " +
                      with_parameters(*best) + " the first.");
    best = own;
  } else {
    lines.push_back(measured || class_of(best->evidence) == Class::within
                        ? "Begin with " + with_parameters(*best) + "."
                        : "No scheme here keeps the model within its training at " + target +
                              " tokens. The least far is " + with_parameters(*best) + ".");
    lines.push_back(reasons(*best, measured));
  }
  const Choice* rotated = find([](const Choice& c) { return !c.raw_keys && !c.unchanged; });
  if (best->raw_keys && rotated)
    lines.push_back("Where cached keys must be rotated already: " + with_parameters(*rotated) +
                    ".");
  return lines;
}

/// What the ranking cannot say. `expression` is the scheme to measure, in the form of
/// examples/evaluate; empty where it has none.
inline std::vector<std::string> not_measured(const Question& question,
                                             const std::string& expression, bool has_losses) {
  std::vector<std::string> lines;
  if (has_losses)
    lines.push_back(
        "Measured: the loss of one model on one text; orders do not carry over. Not measured: "
        "whether "
        "anything far away is found (`evaluate --passkey`).");
  else
    lines.push_back(
        "Not measured: the loss of the model, and whether it finds what is far away. Queries and "
        "keys are "
        "synthetic, so this is geometry: where models were measured (docs/judging.md), schemes of "
        "the first class were "
        "among the best, close together and in another order.");
  lines.push_back(
      "To measure a real model" +
      (expression.empty()
           ? std::string(
                 " (evaluate has no words for the rotation that this one was trained with): ")
           : ": `sh cmake/run.sh evaluate --model model.gguf --text book.txt --lengths " +
                 std::to_string(question.trained) + "," + std::to_string(question.target) +
                 " --schemes \"" + expression + "\"`, or ") +
      "give this program the GGUF file as MODEL, and --text. "
      "Small models, trained in minutes: `sh cmake/run.sh lab`.");
  return lines;
}

}  // namespace compare
