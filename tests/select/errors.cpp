// SPDX-License-Identifier: MIT
//
// What does not fit is refused by a sentence.
#include "choices.hpp"

#include <posenc/cache/rerotate.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/select/attention_mass.hpp>

#include <utility>

namespace select_test {
namespace errors_cases {

constexpr BindOptions two_heads{.num_heads = 2, .num_kv_heads = 1};
const CacheShape shape{.head_dim = 8, .capacity = 64};

/// Summarises keys before their rotation.
struct OfRawKeys : MoBA {
  static constexpr bool rotated = false;
};
struct MovedTogether : MoBA {
  static constexpr Placement placement = Placement::contiguous;
};
struct OfMass : MoBA {
  static constexpr bool needs_mass = true;
};

template <class F>
std::string sentence(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
bool says(const std::string& text, const std::string& part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

TEST_CASE("parameters of the methods") {
  const auto bound = without_positions(2, 1);
  const auto cache = KeyValueCache<KeyState::raw>::contiguous(shape);
  says(sentence([&] { Summaries(Quest{.block = 0}, cache, bound); }), "got block = 0");
  says(sentence([&] { Summaries(Quest{.budget = -1}, cache, bound); }),
       "budget must be positive, got -1");
  says(sentence([&] { Summaries(MoBA{.topk = 2}, cache, bound); }), "got block = 0");
  says(sentence([&] { Summaries(MoBA{.block = 4}, cache, bound); }), "is at least 1, got 0");
  says(sentence([&] { Summaries(NSASelection{.blocks = 2}, cache, bound); }), "at least 3, got 2");
}

TEST_CASE("keys that there are not") {
  const RoPE<HalfSplit> rope{.head_dim = 8};
  const auto plain = bind(rope | Causal{}, two_heads);
  const auto raw = KeyValueCache<KeyState::raw>::contiguous(shape);
  const auto rotated = KeyValueCache<KeyState::rotated>::contiguous(shape);
  const OfRawKeys of_raw{{.block = 4, .topk = 2}};
  says(sentence([&] { Summaries(of_raw, rotated, plain); }), "it needs a cache of raw keys");
  CHECK(sentence([&] { Summaries(of_raw, raw, plain); }).empty());
  const auto far = bind(rope | ReRoPE{.window = 4} | Causal{}, two_heads);
  says(sentence([&] { Summaries(Quest{}, raw, far); }), "a distance map rotates a key differently");
  CHECK(sentence([&] { Summaries(of_raw, raw, far); }).empty());
  const auto by_length = bind(rope | DynamicNTK{.original_context = 16} | Causal{}, two_heads);
  says(sentence([&] { Summaries(Quest{}, raw, by_length); }), "bind it with a length");
  const auto at_length = bind(rope | DynamicNTK{.original_context = 16} | Causal{},
                              {.num_heads = 2, .num_kv_heads = 1, .length = 64});
  CHECK(sentence([&] { Summaries(Quest{}, raw, at_length); }).empty());
  const auto streaming = KeyValueCache<KeyState::raw>::streaming(shape);
  says(sentence([&] { Summaries(Quest{}, streaming, plain); }),
       "all of them move when one is dropped");
  CHECK(sentence([&] { Summaries(of_raw, streaming, plain); }).empty());
  const auto many = bind(rope | Causal{}, {.num_heads = 4, .num_kv_heads = 4});
  says(sentence([&] { Summaries(Quest{}, raw, many); }), "the cache has 1 key heads");
}

TEST_CASE("summaries that are not of what the cache holds") {
  Random random(1);
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 8} | Causal{}, two_heads);
  auto cache = KeyValueCache<KeyState::raw>::contiguous(shape);
  append(cache, 0, numbers(40 * 8, random), bound);
  Summaries summaries(Quest{.block = 4, .budget = 12}, cache, bound);
  summaries.update(cache, 0, bound);
  const std::vector<float> q = numbers(2 * 8, random);
  const TensorView<const float> query(q.data(), 1, 2, 8);
  Selection chosen;
  const auto choose = [&](const SelectOptions& options = {}) {
    return sentence([&] { select(query, cache, summaries, bound, chosen, options); });
  };
  CHECK(choose().empty());
  append(cache, 0, numbers(3 * 8, random), bound);
  CHECK(choose().empty());  // nothing that was summarised has changed
  cache.truncate(0, 41);
  CHECK(choose().empty());
  cache.truncate(0, 39);
  says(choose(), "was changed since its summaries were made");
  append(cache, 0, numbers(8, random), bound);
  says(choose(), "was changed since its summaries were made");
  summaries.update(cache, 0, bound);
  CHECK(choose().empty());
  shift(cache, 0, 36, 40, 1, bound);
  says(choose(), "was changed since its summaries were made");
  summaries.update(cache, 0, bound);
  const auto next = bind(RoPE<HalfSplit>{.head_dim = 8, .base = 100} | Causal{}, two_heads);
  says(sentence([&] { select(query, cache, summaries, next, chosen); }),
       "as another encoding rotates them");

  auto other = KeyValueCache<KeyState::raw>::contiguous(shape);
  says(sentence([&] { summaries.update(other, 0, bound); }), "of another cache");
  // Also where both have had the same tokens and no edits.
  append(other, 0, numbers(40 * 8, random), bound);
  auto third = KeyValueCache<KeyState::raw>::contiguous(shape);
  append(third, 0, numbers(40 * 8, random), bound);
  Summaries of_other(Quest{.block = 4, .budget = 12}, other, bound);
  of_other.update(other, 0, bound);
  says(sentence([&] { of_other.update(third, 0, bound); }), "of another cache");
  says(sentence([&] { select(query, third, of_other, bound, chosen); }), "of another cache");
  auto moved = std::move(other);
  CHECK(sentence([&] { select(query, moved, of_other, bound, chosen); }).empty());
  // One that takes the place of another may have its memory too.
  moved = KeyValueCache<KeyState::raw>::contiguous(shape);
  append(moved, 0, numbers(40 * 8, random), bound);
  says(sentence([&] { select(query, moved, of_other, bound, chosen); }), "of another cache");
  says(sentence([&] { of_other.update(moved, 0, bound); }), "of another cache");
  auto longer = KeyValueCache<KeyState::raw>::contiguous({.head_dim = 8, .capacity = 65});
  says(sentence([&] { summaries.update(longer, 0, bound); }), "of another shape");
  says(sentence([&] { summaries.update(cache, 1, bound); }), "sequences 0 to 0, got 1");
  says(sentence([&] { summaries.update(cache, 0, bound, {.tokens = -1}); }), "got -1");

  const std::vector<Index> beyond{1}, starts{0, 2};
  says(choose({.sequences = beyond}), "sequences 0 to 0, got 1");
  says(choose({.starts = starts}), "starts must go from 0 to the 1 tokens");
  std::vector<std::byte> little(64);
  CHECK_FALSE(choose({.workspace = little}).empty());
  const std::vector<float> wide(50 * 2 * 8);
  says(sentence([&] {
         select(TensorView<const float>(wide.data(), 50, 2, 8), cache, summaries, bound, chosen);
       }),
       "holds 40 tokens but has 50 queries");
  says(sentence([&] {
         select(TensorView<const float>(wide.data(), 1, 4, 8), cache, summaries, bound, chosen);
       }),
       "q is [1, 4, 8] but must have 2 heads of 8 channels");
  says(sentence([&] { static_cast<void>(select_workspace(cache, summaries, bound, 0)); }),
       "queries_per_sequence must be positive");
}

/// Memory of a pool stays where it is, so only the caches tell each other apart.
TEST_CASE("a cache in the place and the memory of another is another one") {
  Random random(3);
  const auto bound = without_positions(2, 1);
  std::vector<float> keys(64 * 8), values(64 * 8);
  const std::vector<Index> pages{0, 1, 2, 3};
  const auto fresh = [&] {
    auto cache = KeyValueCache<KeyState::raw>::paged(shape, {keys.data(), values.data(), 4, 16});
    cache.set_pages(0, pages);
    append(cache, 0, numbers(40 * 8, random), bound);
    return cache;
  };
  auto cache = fresh();
  Summaries summaries(Quest{.block = 4, .budget = 12}, cache, bound);
  AttentionMass mass(cache, 2);
  summaries.update(cache, 0, bound);
  CHECK(sentence([&] { mass.clear(cache, 0); }).empty());
  cache = fresh();
  says(sentence([&] { summaries.update(cache, 0, bound); }),
       "these summaries are of another cache");
  says(sentence([&] { mass.clear(cache, 0); }), "these sums are of another cache");
}

TEST_CASE("keys that are moved together need a cache of raw keys") {
  Random random(4);
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 8} | Causal{}, two_heads);
  const std::vector<float> q = numbers(2 * 8, random);
  const auto choose = [&](auto cache, const SelectOptions& options = {}) {
    append(cache, 0, numbers(40 * 8, random), bound);
    Summaries summaries(MovedTogether{{.block = 4, .topk = 2}}, cache, bound);
    summaries.update(cache, 0, bound);
    Selection chosen;
    return sentence([&] {
      select(TensorView<const float>(q.data(), 1, 2, 8), cache, summaries, bound, chosen, options);
      CHECK(chosen.placement == Placement::contiguous);
    });
  };
  CHECK(choose(KeyValueCache<KeyState::raw>::contiguous(shape)).empty());
  says(choose(KeyValueCache<KeyState::rotated>::contiguous(shape)),
       "keys that are moved together need a cache of raw keys");
  says(choose(KeyValueCache<KeyState::raw>::contiguous(shape), {.query_positions = Positions(7)}),
       "neither query_positions nor positions of several coordinates");
}

TEST_CASE("attention mass that is missing") {
  Random random(2);
  const auto bound = without_positions(2, 1);
  auto cache = KeyValueCache<KeyState::raw>::contiguous(shape);
  append(cache, 0, numbers(8 * 8, random), bound);
  Summaries summaries(OfMass{{.block = 4, .topk = 2}}, cache, bound);
  CHECK(summaries.heads() == 2);
  says(sentence([&] { summaries.update(cache, 0, bound); }),
       "needs the attention mass of 8 tokens and 2 query heads, got 0 numbers");
  const std::vector<double> mass(16, 1.0);
  CHECK(sentence([&] { summaries.update(cache, 0, bound, {.mass = mass}); }).empty());
}

}  // namespace errors_cases
}  // namespace select_test
