// SPDX-License-Identifier: MIT
//
// Entropy and greatest weight of rows that are decoded: those of the reference, for few queries, for many, and
// where parts of the keys are merged.
#include "calls.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/score/sink_logit.hpp>

#include "../support/backwards.hpp"
#include "../support/bind_any.hpp"
#include "../support/levels.hpp"

using namespace decode_test;

namespace statistics_cases {

constexpr Index tokens = 3000, heads = 4, width = 16;

template <class T>
void check(const AnyEncoding& encoding, double tolerance) {
  const Sequence<T> sequence(tokens, heads, 2, width, width, 1, 3);
  const auto bound = posenc_test::bind_any(encoding, {.num_heads = heads, .num_kv_heads = 2});
  Holder<KeyState::raw, T> cache(Kind::paged, shape_for(sequence));
  append(*cache, 0, sequence, 0, tokens, bound);
  for (const Index queries : {1, 3, 20}) {
    const auto call = sequence.last(queries);
    const ReferenceResult expected = reference_attention(call.q, call.k, call.v, bound);
    posenc_test::at_every_level([&] {
      using U = arithmetic_t<T>;
      std::vector<U> entropy(size(queries * heads), U(7)), greatest(entropy);
      const auto plain = decoded(call.q, *cache, bound);
      for (const Index threads : {1, 5}) {
        const auto got =
            decoded<KeyState::raw, T>(call.q, *cache, bound,
                                      {.rows = {.entropy = entropy, .greatest = greatest},
                                       .executor = posenc_test::Backwards{threads}});
        double off = 0;
        for (std::size_t row = 0; row < entropy.size(); ++row)
          off = std::max({off, std::abs(static_cast<double>(entropy[row]) - expected.entropy[row]),
                          std::abs(static_cast<double>(greatest[row]) - expected.greatest[row])});
        CHECK(off <= tolerance);
        CHECK(got.lse == plain.lse);
      }
    });
  }
}
TEST_CASE("row statistics: decode says what the reference says") {
  const RoPE<HalfSplit> rope{.head_dim = width};
  const SinkLogit sinks{.logits = {-2, 0, 3, 30}};
  check<float>(rope | Causal{}, 1e-5);
  check<float>(rope | ALiBi{} | sinks | Causal{}, 1e-5);
  check<double>(rope | sinks | Causal{}, 1e-12);
}

TEST_CASE("row statistics: decode refuses numbers that are not one for each row") {
  const Sequence<float> sequence(8, heads, 2, width, width);
  const auto bound =
      bind(RoPE<HalfSplit>{.head_dim = width} | Causal{}, {.num_heads = heads, .num_kv_heads = 2});
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 8, bound);
  std::vector<float> few(3);
  const auto call = [&] {
    return decoded<KeyState::raw, float>(sequence.last(1).q, *cache, bound,
                                         {.rows = {.greatest = few}});
  };
  CHECK_THROWS_WITH(call(),
                    ContainsSubstring("rows.greatest has 3 elements for 1 queries of 4 heads."));
}

}  // namespace statistics_cases
