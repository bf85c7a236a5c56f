// SPDX-License-Identifier: MIT
//
// Encodings as text: the values are those of the components, what is unsaid is the model's, what is wrong is one
// sentence.
#include <posenc/config/expression.hpp>

#include "../support/catch.hpp"

#include <string>

using namespace posenc;

namespace expression_cases {

const ExpressionContext model{.head_dim = 64, .base = 5e5, .trained = 4096, .length = 16384};

Bound<AnyEncoding> bound(std::string_view text, const ExpressionContext& context = model) {
  return bind(parse_expression(text, context).encoding, {.num_heads = 4});
}
template <class E>
void check_like(std::string_view text, const E& encoding) {
  INFO(text);
  const auto mine = bound(text);
  const auto theirs = bind(AnyEncoding(encoding), {.num_heads = 4});
  REQUIRE(mine.rotary().pairs() == theirs.rotary().pairs());
  CHECK((mine.rotary().state.inv_freq == theirs.rotary().state.inv_freq).all());
  CHECK(mine.rotary().state.attention_factor == theirs.rotary().state.attention_factor);
  CHECK(mine.has_distance_map() == theirs.has_distance_map());
  if (mine.has_distance_map())
    for (const Position d : {0, 100, 2047, 2048, 3000, 16000})
      CHECK(mine.distance_map().distance(16000, 16000 - d) ==
            theirs.distance_map().distance(16000, 16000 - d));
  CHECK(mine.temperature(16000) == theirs.temperature(16000));
}

TEST_CASE("parse_expression: values are those of the components, the rest is the model's") {
  const RoPE<HalfSplit> rope{.head_dim = 64, .base = 5e5};
  check_like("RoPE", rope | Causal{});
  check_like("RoPE{base=10000, rotary_dim=32}",
             RoPE<HalfSplit>{.head_dim = 64, .rotary_dim = 32} | Causal{});
  check_like("RoPE|PI", rope | PI{.factor = 4} | Causal{});
  check_like(" RoPE | PI { factor = 2.5 } ", rope | PI{.factor = 2.5} | Causal{});
  check_like("RoPE|NTK", rope | NTK{.alpha = 4} | Causal{});
  check_like("RoPE|YaRN|LogN", rope | YaRN{.factor = 4, .original_context = 4096} |
                                   LogN{.base_length = 4096} | Causal{});
  check_like("RoPE|NTKByParts{beta_fast=8}",
             rope | NTKByParts{.factor = 4, .original_context = 4096, .beta_fast = 8} | Causal{});
  check_like("RoPE|ReRoPE", rope | ReRoPE{.window = 2048} | Causal{});
  check_like("RoPE|LeakyReRoPE{window=1024,factor=8}",
             rope | LeakyReRoPE{.window = 1024, .factor = 8} | Causal{});
  check_like("RoPE|SelfExtend", rope | SelfExtend{.window = 1024, .group = 8} | Causal{});
  check_like("RoPE|STRING", rope | STRING{.shift = 1351, .local = 128} | Causal{});
  check_like("RoPE|DualChunk", rope | DualChunk::paper(4096) | Causal{});
  check_like("RoPE|YaRN{factor=4}|ReRoPE{window=2048}|SoftCap{cap=30}",
             rope | YaRN{.factor = 4, .original_context = 4096} | ReRoPE{.window = 2048} |
                 SoftCap{30} | Causal{});
  CHECK(parse_expression("ALiBi|Causal", model).encoding.size() == 2);
  CHECK(parse_expression("ALiBi", model).encoding.size() == 2);
  CHECK(parse_expression("RoPE|LMInfinite", model).encoding.size() == 2);
  CHECK(parse_expression("RoPE|AShape", model).text.find("AShape{sinks=100, window=800}") !=
        std::string::npos);
  CHECK(parse_expression("RoPE|AShape{sinks=4, window=9}", model).encoding.size() == 2);
}

TEST_CASE(
    "parse_expression: every name makes something that can be bound, and says its parameters") {
  for (const detail::PartMaker& maker : detail::part_makers()) {
    const std::string name(maker.name);
    INFO(name);
    const bool alone = name == "RoPE" || name == "ALiBi";
    const ReadExpression read = parse_expression(alone ? name : "RoPE|" + name, model);
    CHECK_NOTHROW(bind(read.encoding, {.num_heads = 4}));
    // The text is an expression again, of the same.
    const ReadExpression again = parse_expression(read.text, {});
    CHECK(again.text == read.text);
  }
  const ReadExpression third =
      parse_expression("RoPE{base=1234567.875}|PI", {.head_dim = 64, .trained = 3, .length = 4});
  CHECK(third.text ==
        "RoPE{head_dim=64, base=1234567.875, rotary_dim=0, interleaved=0} | "
        "PI{factor=1.3333333333333333} | Causal");
  CHECK(parse_expression("RoPE|YaRN", model).text ==
        "RoPE{head_dim=64, base=5e+05, rotary_dim=0, interleaved=0} | "
        "YaRN{factor=4, original_context=4096, beta_fast=32, beta_slow=1} | Causal");
}

TEST_CASE("parse_expression: what is wrong is one sentence each") {
  const auto refuses = [](std::string_view text, const std::string& sentence) {
    INFO(text);
    CHECK_THROWS_WITH(parse_expression(text, model), ContainsSubstring(sentence));
  };
  refuses("", "'' has a part without a name");
  refuses("RoPE||PI", "'RoPE||PI' has a part without a name");
  refuses("Rope", "there is no component 'Rope'; there are RoPE, ABF, PI,");
  refuses("RoPE|PI{factr=2}", "PI has no parameter 'factr'; it has factor.");
  refuses("RoPE|ALiBi{slope=2}", "ALiBi has no parameter 'slope'; it has none.");
  refuses("RoPE|PI{factor=two}", "PI: factor must be a number, got 'two'.");
  refuses("RoPE|ReRoPE{window=1.5}", "ReRoPE: window must be a whole number, got '1.5'.");
  refuses("RoPE{interleaved=7}", "RoPE: interleaved must be 0 or 1, got '7'.");
  refuses("RoPE|PI{factor}", "PI: 'factor' is not key=value.");
  refuses("RoPE|PI{factor=2,factor=3}", "PI: factor is given twice.");
  refuses("RoPE|PI{factor=2", "'PI{factor=2' is not Name{key=value, ...}.");
  refuses("RoPE|PI{factor={2}}", "is not Name{key=value, ...}.");
  refuses("RoPE|PI{factor=2}}", "got '2}'");
  refuses(std::string(100'000, 'x'), "there is no component 'xxxx");
  try {
    static_cast<void>(parse_expression("Rope|PI{a=1,b=2}", model));
  } catch (const Error& error) {
    CHECK(error.problems().size() == 3);
  }
  CHECK_THROWS_WITH(bound("RoPE|PI{factor=0.5}"), ContainsSubstring("PI"));
}

}  // namespace expression_cases
