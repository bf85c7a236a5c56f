// SPDX-License-Identifier: MIT
//
// A step on a budget, summaries, select() and decode(): attention to what was chosen, and attention to all keys where
// the budget is that of all.
#include "../decode/calls.hpp"
#include "../support/bind_any.hpp"
#include "../support/bits.hpp"
#include "../support/chosen.hpp"
#include "choices.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/select/inf_llm.hpp>
#include <posenc/select/long_heads.hpp>

#include <Eigen/Core>

namespace select_test::steps_cases {

using namespace decode_test;
using decode_test::Sequence;

constexpr Index heads = 4, kv_heads = 2, width = 16;
constexpr BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};

template <KeyState State, class T, class S, class B>
Selection chosen_for(const Sequence<T>& sequence, const KeyValueCache<State, T>& cache,
                     const S& selector, const B& bound, Index rows,
                     const SummaryOptions& options = {}) {
  Summaries<S> summaries(selector, cache, bound);
  summaries.update(cache, 0, bound, options);
  Selection chosen;
  select(sequence.last(rows).q, cache, summaries, bound, chosen);
  return chosen;
}

template <KeyState State, class T, class S>
void check_step(const S& selector, Kind kind, Index tokens, Index rows) {
  INFO(S::name << ", per " << static_cast<int>(selector.per) << ", keys " << static_cast<int>(State)
               << ", cache " << static_cast<int>(kind));
  const AnyEncoding encoding = RoPE<HalfSplit>{.head_dim = width} | ALiBi{} | Causal{};
  const AnyBound bound = bind(encoding, shape);
  const Sequence<T> sequence(tokens, heads, kv_heads, width, width);
  Holder<State, T> cache(kind, shape_for(sequence));
  append(*cache, 0, sequence, 0, tokens, bound);
  const Selection chosen = chosen_for(sequence, *cache, selector, bound, rows);
  AnyEncoding masked = encoding;
  masked |= mask(posenc_test::Chosen(chosen, heads, rows, tokens));
  const auto call = sequence.last(rows);
  CHECK(chosen[0].tokens < tokens);
  CHECK(ratio(decoded(call.q, *cache, bound, {.selection = &chosen}), call, bind(masked, shape)) <=
        1);
}

TEST_CASE("a step reads what a method chose") {
  for (const ChoicePer per : {ChoicePer::query_head, ChoicePer::key_head, ChoicePer::sequence})
    for (const Kind kind : {Kind::contiguous, Kind::paged}) {
      const Quest quest{.block = 4, .budget = 40, .per = per};
      const MoBA moba{.block = 10, .topk = 3, .per = per};
      check_step<KeyState::rotated, float>(quest, kind, 150, 1);
      check_step<KeyState::raw, Eigen::bfloat16>(quest, kind, 151, 3);
      check_step<KeyState::raw, float>(moba, kind, 150, 3);
      check_step<KeyState::raw, Eigen::half>(moba, kind, 153, 1);
      check_step<KeyState::raw, double>(NSASelection{.block = 8, .blocks = 5, .per = per}, kind,
                                        150, 2);
    }
}

template <class S>
void check_all(const S& selector) {
  INFO(S::name);
  const AnyBound bound =
      posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | ALiBi{} | Causal{}, shape);
  const Sequence<float> sequence(150, heads, kv_heads, width, width);
  Holder<KeyState::rotated, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 150, bound);
  const Selection chosen = chosen_for(sequence, *cache, selector, bound, 1);
  const auto q = sequence.last(1).q;
  const auto some = decoded(q, *cache, bound, {.selection = &chosen});
  CHECK(chosen[0].tokens == 150);
  CHECK(posenc_test::same_bits(some.lse, decoded(q, *cache, bound).lse));
}

TEST_CASE("a budget of all keys is attention to all keys") {
  check_all(Quest{.block = 4, .budget = 152});
  check_all(MoBA{.block = 16, .topk = 10});
  check_all(NSASelection{.block = 16, .blocks = 10});
}

TEST_CASE("InfLLM with all blocks is ReRoPE, and within its window RoPE") {
  const RoPE<HalfSplit> rope{.head_dim = width};
  const InfLLM method{.block = 8, .n_init = 8, .n_local = 40, .topk = 1'000, .repr_topk = 2};
  const InfLLM few{.block = 8, .n_init = 8, .n_local = 40, .topk = 2, .repr_topk = 2};
  const AnyEncoding encoding = rope | method.distances() | Causal{};
  const AnyBound bound = bind(encoding, shape),
                 plain = posenc_test::bind_any(rope | Causal{}, shape);
  for (const Index tokens : {39, 40, 41, 163}) {
    INFO(tokens << " tokens");
    const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
    Holder<KeyState::raw, float> cache(Kind::paged, shape_for(sequence));
    append(*cache, 0, sequence, 0, tokens, bound);
    Random random(3);
    std::vector<double> mass(size(tokens * heads));
    for (double& x : mass) x = random.real(0, 1);
    const auto call = sequence.last(1);
    const Selection all = chosen_for(sequence, *cache, method, bound, 1, {.mass = mass});
    CHECK(all[0].tokens == tokens);
    const auto result = decoded(call.q, *cache, bound, {.selection = &all});
    CHECK(ratio(result, call, bound) <= 1);
    if (tokens <= 40) CHECK(ratio(result, call, plain) <= 1);

    const Selection some = chosen_for(sequence, *cache, few, bound, 1, {.mass = mass});
    AnyEncoding masked = encoding;
    masked |= mask(posenc_test::Chosen(some, heads, 1, tokens));
    CHECK((some[0].tokens < tokens) == (tokens > 100));
    CHECK(ratio(decoded(call.q, *cache, bound, {.selection = &some}), call, bind(masked, shape)) <=
          1);
  }
}

TEST_CASE("LongHeads: chosen chunks stand side by side, and those of a short text where they are") {
  const LongHeads method{.chunk = 10, .chunks = 4};
  const AnyBound rotation = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width}, shape);
  const AnyBound bound =
      posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | Causal{}, shape);
  for (const Index tokens : {7, 40, 41, 128}) {
    INFO(tokens << " tokens");
    const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
    Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
    append(*cache, 0, sequence, 0, tokens, bound);
    LongHeadsFeatures features(method, heads, kv_heads, width);
    features.append(sequence.q.view(), sequence.k.view(), sequence.v.view(), rotation);
    const auto call = sequence.last(1);
    Selection chosen;
    choose_chunks(call.q, features, tokens - 1, chosen);
    const auto result = decoded(call.q, *cache, bound, {.selection = &chosen});
    if (tokens <= 40) CHECK(ratio(result, call, bound) <= 1);
    for (Index h = 0; h < heads; ++h) {  // each head by itself, over its own keys at 0, 1, 2, ...
      const Selection::Choice choice = chosen[h];
      REQUIRE(choice.readers.head == h);
      CHECK(choice.tokens == std::min(tokens, 30 + (tokens - 1) % 10 + 1));
      Tensor<float> k(choice.tokens, 1, width), v(choice.tokens, 1, width);
      Index at = 0;
      for (const KeyRange& range : choice.ranges)
        for (Index t = range.first; t < range.first + range.tokens; ++t, ++at)
          for (Index c = 0; c < width; ++c) {
            k.view()(at, 0, c) = sequence.k.view()(t, h / 2, c);
            v.view()(at, 0, c) = sequence.v.view()(t, h / 2, c);
          }
      TensorView<const float> q = call.q;
      q.data = q.row(0, h);
      q.heads = 1;
      const Arguments<float> own{q, k.view(), v.view()};
      const AnyBound one = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | Causal{});
      Output<float> of_head(own);
      of_head.lse[0] = result.lse[size(h)];
      for (Index c = 0; c < width; ++c) of_head.out.view()(0, 0, c) = result.out.view()(0, h, c);
      CHECK(ratio(of_head, own, one) <= 1);
    }
  }
}

}  // namespace select_test::steps_cases
