// SPDX-License-Identifier: MIT
#include <posenc/score/sink_logit.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

TEST_CASE("SinkLogit: a logit per query head, or one for all") {
  const PreparedSinkLogit each = SinkLogit{.logits = {1, -2, 0.5F}}.prepare({.num_heads = 3});
  CHECK(each.sink_logit(0) == 1);
  CHECK(each.sink_logit(1) == -2);
  CHECK(each.sink_logit(2) == 0.5);
  const PreparedSinkLogit all = SinkLogit{}.prepare({.num_heads = 12});
  for (Index head = 0; head < 12; ++head) CHECK(all.sink_logit(head) == 0);
  static_assert(SoftmaxSink<PreparedSinkLogit> && Component<SinkLogit>);
}

TEST_CASE("SinkLogit: what is wrong is said") {
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(sentences_of(SinkLogit{}).empty());
  CHECK(sentences_of(SinkLogit{.logits = {-inf}}).empty());
  CHECK_THAT(sentences_of(SinkLogit{.logits = {1, 2}}),
             ContainsSubstring("one for each of the 4 query heads, got 2"));
  CHECK_THAT(sentences_of(SinkLogit{.logits = {}}), ContainsSubstring("got 0"));
  CHECK_THAT(sentences_of(SinkLogit{.logits = {inf}}), ContainsSubstring("NaN or plus infinity"));
  CHECK_THAT(sentences_of(SinkLogit{.logits = {std::numeric_limits<float>::quiet_NaN()}}),
             ContainsSubstring("NaN or plus infinity"));
}
