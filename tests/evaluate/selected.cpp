// SPDX-License-Identifier: MIT
//
// Reading with chosen keys is generating with them: each of the last tokens as decode() reads a Selection that select() has
// filled, and those before them in full.
#include "../../examples/evaluate/ways.hpp"

#include "../support/catch.hpp"
#include "../support/random.hpp"
#include "small_model.hpp"

#include <posenc/select/select.hpp>

namespace selected_cases {

using namespace posenc;
using namespace small_model;
using evaluate::Choosing;

struct Tensors {
  Index tokens;
  std::vector<float> q, k, v;
  explicit Tensors(Index n) : tokens(n) {
    std::mt19937 random(5);
    q = posenc_test::noise<float>(n * heads * head_dim, random, -2.0F, 2.0F);
    k = posenc_test::noise<float>(n * kv_heads * head_dim, random, -2.0F, 2.0F);
    v = posenc_test::noise<float>(n * kv_heads * head_dim, random, -2.0F, 2.0F);
  }
  [[nodiscard]] TensorView<const float> Q() const { return {q.data(), tokens, heads, head_dim}; }
  [[nodiscard]] TensorView<const float> K() const { return {k.data(), tokens, kv_heads, head_dim}; }
  [[nodiscard]] TensorView<const float> V() const { return {v.data(), tokens, kv_heads, head_dim}; }
};

std::vector<float> attended(const Tensors& x, const evaluate::SelectedLayers& layers, Index layer,
                            Index first, KeysRead& keys) {
  std::vector<float> out(x.q.size());
  layers.attend(layer, first, x.Q(), x.K(), x.V(), {out.data(), x.tokens, heads, head_dim}, keys,
                Serial{});
  return out;
}
double worst(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return most;
}

TEST_CASE("tokens that choose read what decode() reads, those before them all keys") {
  const evaluate::Llama model = golden_model("llama");
  const LayerSchedule rope = evaluate::read_with(model.shape, "RoPE", 64).layers;
  const Tensors x(60);
  constexpr Index first = 40, row = heads * head_dim;
  const auto bound = bind(rope.kinds[0], {.num_heads = heads, .num_kv_heads = kv_heads});
  std::vector<float> expected(x.q.size());
  attention(x.Q(), x.K(), x.V(), TensorView<float>(expected.data(), x.tokens, heads, head_dim),
            bound);
  const Quest quest{.block = 4, .budget = 12};
  auto cache = KeyValueCache<KeyState::rotated>::contiguous(
      {.kv_heads = kv_heads, .head_dim = head_dim, .capacity = x.tokens});
  Summaries summaries(quest, cache, bound);
  cache.append(0, x.K().slice(0, first), x.V().slice(0, first), bound);
  double read = 0, all = 0;
  for (Index t = first; t < x.tokens; ++t) {
    cache.append(0, x.K().slice(t, 1), x.V().slice(t, 1), bound);
    summaries.update(cache, 0, bound);
    Selection chosen;
    select(x.Q().slice(t, 1), cache, summaries, bound, chosen);
    decode(x.Q().slice(t, 1), cache,
           TensorView<float>(expected.data() + t * row, 1, heads, head_dim), bound,
           {.selection = &chosen});
    for (Index c = 0; c < chosen.size(); ++c) read += static_cast<double>(chosen[c].tokens) / heads;
    all += static_cast<double>(t + 1);
  }
  const Choosing choosing{parse_selector("Quest{page=4, budget=12}"), 1, false};
  const evaluate::SelectedLayers layers(model.shape, rope, choosing, x.tokens);
  KeysRead keys;
  CHECK(worst(attended(x, layers, 1, first, keys), expected) < 1e-5);
  CHECK_THAT(keys.share(), WithinAbs(read / all, 1e-12));
  CHECK(keys.share() < 0.3);

  // Layers before the first that chooses read all keys.
  std::vector<float> full(x.q.size());
  attention(x.Q(), x.K(), x.V(), TensorView<float>(full.data(), x.tokens, heads, head_dim), bound);
  KeysRead none;
  CHECK(attended(x, layers, 0, first, none) == full);
  CHECK(none.all == 0);

  // All tokens choose: so do those before `first`.
  const evaluate::SelectedLayers prompts(model.shape, rope, {choosing.method, 1, true}, x.tokens);
  KeysRead of_all;
  const std::vector<float> whole = attended(x, prompts, 1, first, of_all);
  CHECK(worst(std::span(whole).last(20 * row), std::span<const float>(expected).last(20 * row)) <
        1e-5);
  CHECK(worst(std::span(whole).first(first * row),
              std::span<const float>(expected).first(first * row)) > 1e-3);
  CHECK(of_all.all == 60 * 61 / 2);
}

TEST_CASE("InfLLM reads far keys at its own distance") {
  const evaluate::Llama model = golden_model("llama");
  const auto layers_of = [&](const char* text) {
    return evaluate::read_with(model.shape, text, 64).layers;
  };
  const Tensors x(60);
  const Choosing all_blocks{
      parse_selector("InfLLM{block=4, n_init=4, n_local=16, topk=100, repr_topk=2}"), 0, false};
  KeysRead keys;
  const std::vector<float> out = attended(
      x, evaluate::SelectedLayers(model.shape, layers_of("RoPE"), all_blocks, 60), 1, 40, keys);
  CHECK(keys.share() == 1);
  std::vector<float> expected(x.q.size());
  attention(x.Q(), x.K(), x.V(), TensorView<float>(expected.data(), x.tokens, heads, head_dim),
            bind(layers_of("RoPE|ReRoPE{window=15}").kinds[0],
                 {.num_heads = heads, .num_kv_heads = kv_heads}));
  CHECK(worst(out, expected) < 1e-5);
  const Choosing some{parse_selector("InfLLM{block=4, n_init=4, n_local=16, topk=2, repr_topk=2}"),
                      0, false};
  KeysRead fewer;
  CHECK(worst(attended(x, evaluate::SelectedLayers(model.shape, layers_of("RoPE"), some, 60), 1, 40,
                       fewer),
              expected) > 1e-3);
  // 4 first tokens, 2 blocks, the window and what leaves it.
  CHECK(fewer.share() > 28.0 / 60);
  CHECK(fewer.share() < 36.0 / 41);
}

TEST_CASE("LongHeads reads chunks that are moved together, token by token") {
  const evaluate::Llama model = golden_model("llama");
  const LayerSchedule rope = evaluate::read_with(model.shape, "RoPE", 64).layers;
  const AnyBound bound = bind(rope.kinds[0], {.num_heads = heads, .num_kv_heads = kv_heads});
  const Tensors x(60);
  const Index first = 40;
  const auto read = [&](const char* text, KeysRead& keys) {
    return attended(
        x, evaluate::SelectedLayers(model.shape, rope, {parse_selector(text), 0, false}, 60), 1,
        first, keys);
  };
  std::vector<float> full(x.q.size());
  attention(x.Q(), x.K(), x.V(), TensorView<float>(full.data(), x.tokens, heads, head_dim), bound);
  KeysRead all;
  CHECK(worst(read("LongHeads{chunk=8, chunks=8}", all), full) < 1e-5);
  CHECK(all.share() == 1);

  // A cache and features that grow by a token at a time.
  const LongHeads method{.chunk = 4, .chunks = 5};
  LongHeadsFeatures features(method, heads, kv_heads, head_dim);
  auto cache = KeyValueCache<KeyState::raw>::contiguous(
      {.kv_heads = kv_heads, .head_dim = head_dim, .capacity = x.tokens});
  std::vector<float> expected = full;
  double tokens = 0;
  for (Index t = 0; t < x.tokens; ++t) {
    features.append(x.Q().slice(t, 1), x.K().slice(t, 1), x.V().slice(t, 1),
                    bind(rope.kinds[0].rotation(), {.num_heads = heads, .num_kv_heads = kv_heads}));
    cache.append(0, x.K().slice(t, 1), x.V().slice(t, 1));
    if (t < first) continue;
    Selection chosen;
    choose_chunks(x.Q().slice(t, 1), features, t, chosen);
    decode(x.Q().slice(t, 1), cache,
           TensorView<float>(expected.data() + t * heads * head_dim, 1, heads, head_dim), bound,
           {.selection = &chosen});
    for (Index c = 0; c < chosen.size(); ++c) tokens += static_cast<double>(chosen[c].tokens);
  }
  KeysRead some;
  CHECK(worst(read("LongHeads{chunk=4, chunks=5}", some), expected) < 1e-5);
  CHECK_THAT(some.read, WithinAbs(tokens / heads, 1e-9));
  CHECK(some.share() < 0.5);
  CHECK(worst(expected, full) > 1e-3);
}

TEST_CASE(
    "a measurement with all keys chosen is that without a choice, and says which share was read") {
  const evaluate::Llama llama = golden_model("llama");
  const evaluate::LanguageModel model{llama, {std::vector<std::string>{"a"}, {}, "default"}};
  std::vector<std::int32_t> text;
  for (int i = 0; i < 40; ++i) text.push_back((i * i + 3 * i) % 20);
  const LayerSchedule rope = evaluate::read_with(llama.shape, "RoPE", 40).layers;
  const evaluate::MeasureOptions options{.last = 8, .stretch = 4, .sampled = 2};
  const auto measured = [&](const Choosing* choosing) {
    return evaluate::measure(model, text, 40, rope, options, Serial{}, choosing);
  };
  const evaluate::Measured full = measured(nullptr);
  CHECK(!full.keys_read);
  const Choosing all{parse_selector("MoBA{block=8, topk=5}"), 0, true};
  const evaluate::Measured same = measured(&all);
  CHECK_THAT(same.last, WithinAbs(full.last, 1e-5));
  CHECK(same.keys_read == 1.0);
  const Choosing few{parse_selector("MoBA{block=4, topk=1}"), 0, false};
  const evaluate::Measured other = measured(&few);
  CHECK(std::abs(other.last - full.last) > 1e-4);
  // Rows 31 to 39 read their own block of 4 up to themselves.
  CHECK_THAT(*other.keys_read, WithinAbs((4 + 1 + 2 + 3 + 4 + 1 + 2 + 3 + 4) / (9 * 36.0), 1e-12));
}

TEST_CASE(
    "a method is left out where it does not go with a scheme, and refused where it goes with "
    "none") {
  const evaluate::LlamaShape shape = golden_model("llama").shape;
  evaluate::Setting setting;
  setting.lengths = {64, 128};
  setting.schemes = {{"as trained", "RoPE"}, {"ReRoPE", "RoPE|ReRoPE"}, {"PI", "RoPE|PI"}};
  setting.selects = {{"Quest", {parse_selector("Quest"), 0, false}},
                     {"InfLLM", {parse_selector("InfLLM"), 1, false}}};
  std::vector<std::string> left_out;
  const auto ways = evaluate::ways_to_read(shape, setting, left_out);
  std::vector<std::string> names;
  for (const evaluate::Way& way : ways) names.push_back(way.name);
  CHECK(names == std::vector<std::string>{"as trained", "ReRoPE", "PI", "as trained with Quest",
                                          "PI with Quest", "as trained with InfLLM",
                                          "PI with InfLLM"});
  REQUIRE(left_out.size() == 2);
  CHECK_THAT(left_out[0],
             ContainsSubstring("Quest is left out with ReRoPE: Quest summarises rotated keys"));
  CHECK_THAT(left_out[1],
             ContainsSubstring("InfLLM is left out with ReRoPE: InfLLM reads far keys"));
  setting.selects = {{"Quest", {parse_selector("Quest"), 2, false}}};
  CHECK_THROWS_WITH(
      evaluate::ways_to_read(shape, setting, left_out),
      ContainsSubstring("no layer of the model chooses: of 2 the first 2 are read in full"));
}

}  // namespace selected_cases
