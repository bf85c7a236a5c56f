// SPDX-License-Identifier: MIT
//
// Methods that choose keys as text: values are those of the methods, what is unsaid is the references', what is wrong is
// one sentence each.
#include <posenc/config/selector_expression.hpp>

#include "../support/catch.hpp"

#include <string>

using namespace posenc;

namespace selector_cases {

TEST_CASE("parse_selector: methods and their parameters") {
  const ReadSelector quest = parse_selector("Quest{page=32, budget=1024}");
  REQUIRE(std::holds_alternative<Quest>(quest.selector));
  CHECK(std::get<Quest>(quest.selector).block == 32);
  CHECK(std::get<Quest>(quest.selector).budget == 1024);
  CHECK(std::get<Quest>(quest.selector).per == ChoicePer::query_head);
  CHECK(quest.name == "Quest");
  CHECK(quest.text == "Quest{page=32, budget=1024, per=2}");
  CHECK(parse_selector(" Quest ").text == "Quest{page=16, budget=2048, per=2}");

  const auto moba = std::get<MoBA>(parse_selector("MoBA{block=64,topk=5,per=1}").selector);
  CHECK((moba.block == 64 && moba.topk == 5 && moba.per == ChoicePer::key_head));
  const auto nsa = std::get<NSASelection>(parse_selector("NSA{blocks=8}").selector);
  CHECK((nsa.block == 64 && nsa.blocks == 8 && nsa.per == ChoicePer::key_head));
  const auto inf = std::get<InfLLM>(
      parse_selector("InfLLM{n_local=512, topk=2, repr_topk=1, block=64, n_init=0}").selector);
  CHECK((inf.n_local == 512 && inf.topk == 2 && inf.repr_topk == 1 && inf.block == 64 &&
         inf.n_init == 0));
  const auto heads = std::get<LongHeads>(parse_selector("LongHeads{chunks=5}").selector);
  CHECK((heads.chunk == 256 && heads.chunks == 5));
  CHECK(parse_selector("LongHeads").text == "LongHeads{chunk=256, chunks=16}");
  CHECK(parse_selector("InfLLM").text ==
        "InfLLM{block=128, n_init=128, n_local=4096, topk=16, repr_topk=4, per=0}");
}

TEST_CASE("parse_selector: what is wrong is said") {
  const auto says = [](const char* text, const char* sentence) {
    INFO(text);
    CHECK_THROWS_WITH(parse_selector(text), ContainsSubstring(sentence));
  };
  says("",
       "there is no method '' that chooses keys; there are Quest, MoBA, NSA, InfLLM, LongHeads.");
  says("RoPE", "there is no method 'RoPE'");
  says("Quest|MoBA", "there is no method 'Quest|MoBA'");
  says("Quest{budget}", "Quest: 'budget' is not key=value.");
  says("Quest{topk=3}", "Quest has no parameter 'topk'; it has page, budget, per.");
  says("Quest{budget=many}", "Quest: budget must be a whole number, got 'many'.");
  says("Quest{budget=0}", "Quest: budget must be positive, got 0.");
  says("Quest{per=3}", "Quest: per must be 0 to 2, got '3'.");
  says("MoBA{topk=-1}", "is at least 1, got -1");
  says("NSA{blocks=2}", "blocks must be at least 3, got 2");
  says("InfLLM{n_init=100}", "n_init must be a multiple of the block of 128 tokens or 0, got 100.");
  says("LongHeads{chunks=2}", "so chunks must be at least 3, got 2.");
  says("Quest{page=16", "is not Name{key=value, ...}.");
}

}  // namespace selector_cases
