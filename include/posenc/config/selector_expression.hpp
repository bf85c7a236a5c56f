// SPDX-License-Identifier: MIT
//
// Methods that choose keys as text: "Quest{block=16, budget=1024}".
//
//   method = Name or Name{key=value, ...},   Name = Quest, MoBA, NSA, InfLLM or LongHeads
//
// Keys are the parameters of the methods (select/), in the form of encodings' expressions (expression.hpp), and what is not said is
// as the method's reference has it; `page` is the block of Quest, `per` is 0 for one choice of all heads, 1 for one of each key head, 2 of each query head.
//
//   const ReadSelector read = parse_selector("Quest{budget=1024}");
//   std::visit([&](const auto& method) { attend_chosen(method, bound, q, k, v, out, first); }, read.selector);
#pragma once

#include <posenc/config/expression.hpp>
#include <posenc/select/inf_llm.hpp>
#include <posenc/select/long_heads.hpp>
#include <posenc/select/moba.hpp>
#include <posenc/select/nsa_selection.hpp>
#include <posenc/select/quest.hpp>

#include <string>
#include <string_view>
#include <variant>

POSENC_NAMESPACE_BEGIN

using AnyKeySelector = std::variant<Quest, MoBA, NSASelection, InfLLM, LongHeads>;

struct ReadSelector {
  AnyKeySelector selector;
  std::string name;  ///< as it was written
  std::string text;  ///< with every parameter
};

namespace detail {

struct SelectorMaker {
  std::string_view name;
  AnyKeySelector (*make)(PartParameters& p);
};

/// Who chooses: 0 for all heads together, 1 for each key head, 2 for each query head.
inline ChoicePer choice_per(PartParameters& p, ChoicePer otherwise) {
  constexpr ChoicePer all[] = {ChoicePer::sequence, ChoicePer::key_head, ChoicePer::query_head};
  const auto own = static_cast<int>(std::find(all, all + 3, otherwise) - all);
  return all[p.one_of("per", own, 3)];
}

/// A method that reads so many blocks, or tokens, of blocks of one size; `otherwise` is what its reference has.
template <class S>
S method_of_blocks(PartParameters& p, const char* block, const char* count, Index S::* read,
                   S otherwise) {
  otherwise.block = p.whole(block, otherwise.block);
  otherwise.*read = p.whole(count, otherwise.*read);
  otherwise.per = choice_per(p, otherwise.per);
  return otherwise;
}

inline const std::vector<SelectorMaker>& selector_makers() {
  using P = PartParameters;
  static const std::vector<SelectorMaker> all{
      {"Quest",
       [](P& p) -> AnyKeySelector {
         return method_of_blocks<Quest>(p, "page", "budget", &Quest::budget, {});
       }},
      {"MoBA",
       [](P& p) -> AnyKeySelector {
         return method_of_blocks<MoBA>(p, "block", "topk", &MoBA::topk, {.block = 256, .topk = 4});
       }},
      {"NSA",
       [](P& p) -> AnyKeySelector {
         return method_of_blocks<NSASelection>(p, "block", "blocks", &NSASelection::blocks, {});
       }},
      {"InfLLM",
       [](P& p) -> AnyKeySelector {
         InfLLM method;
         method.block = p.whole("block", method.block);
         method.n_init = p.whole("n_init", method.n_init);
         method.n_local = p.whole("n_local", method.n_local);
         method.topk = p.whole("topk", method.topk);
         method.repr_topk = p.whole("repr_topk", method.repr_topk);
         method.per = choice_per(p, method.per);
         return method;
       }},
      {"LongHeads",
       [](P& p) -> AnyKeySelector {
         LongHeads method;
         method.chunk = p.whole("chunk", method.chunk);
         method.chunks = p.whole("chunks", method.chunks);
         return method;
       }},
  };
  return all;
}

}  // namespace detail

/// Throws Error with every problem, those of the values among them.
[[nodiscard]] inline ReadSelector parse_selector(std::string_view text) {
  Problems problems;
  detail::PartParameters parameters =
      detail::part_of(problems, detail::split_parts(text, '|').front());
  const std::string name = parameters.name();
  const auto& makers = detail::selector_makers();
  const auto maker =
      std::find_if(makers.begin(), makers.end(), [&](const auto& m) { return m.name == name; });
  if (maker == makers.end() || detail::split_parts(text, '|').size() != 1) {
    std::string known;
    for (const auto& m : makers) known += (known.empty() ? "" : ", ") + std::string(m.name);
    problems.add("there is no method '", text.substr(0, 60), "' that chooses keys; there are ",
                 known, ".");
    problems.raise_if_any("posenc::parse_selector");
  }
  ReadSelector read{maker->make(parameters), name, {}};
  parameters.end(problems);
  if (problems.empty())
    std::visit([&](const auto& method) { method.check(problems); }, read.selector);
  problems.raise_if_any("posenc::parse_selector");
  read.text = parameters.text();
  return read;
}

POSENC_NAMESPACE_END
