// SPDX-License-Identifier: MIT
//
// What six references choose and compute of the same inputs; see tests/golden/README.md (make_choices.py).
#include <posenc/attention/vertical_slash.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotate/rotate.hpp>
#include <posenc/select/choose_blocks.hpp>
#include <posenc/select/inf_llm.hpp>
#include <posenc/select/kept_tokens.hpp>
#include <posenc/select/lightning_indexer.hpp>
#include <posenc/select/long_heads.hpp>

#include "../support/draw.hpp"
#include "choices.hpp"

#include <fstream>
#include <nlohmann/json.hpp>

namespace select_test {
namespace reference_cases {

using Json = nlohmann::json;
using Lists = std::vector<std::vector<Index>>;
using Tensor = TensorView<const double>;

std::vector<Json> cases_of(const char* method) {
  std::ifstream file(POSENC_GOLDEN_DIR "/choices.json");
  std::vector<Json> cases;
  const Json golden = Json::parse(file);
  for (const Json& one : golden.at("cases"))
    if (one.at("method") == method) cases.push_back(one);
  CHECK(cases.size() == 20);
  return cases;
}
std::string name_of(const Json& one) {
  return one.at("method").get<std::string>() + " of seed " +
         std::to_string(one.at("seed").get<int>());
}
std::vector<double> widened(const std::vector<float>& x) { return {x.begin(), x.end()}; }

/// Queries, keys and values of a case, in the order in which the script draws them.
struct Inputs {
  Index tokens, heads, kv_heads, width;
  posenc_test::Draw draw;
  std::vector<double> q, k, v;

  explicit Inputs(const Json& one, bool has_values = false)
      : tokens(one.at("tokens")), heads(one.at("heads")), kv_heads(one.value("kv_heads", heads)),
        width(one.at("width")), draw(one.at("seed")), q(widened(draw(tokens * heads * width))),
        k(widened(draw(tokens * kv_heads * width))),
        v(has_values ? widened(draw(tokens * kv_heads * width)) : k) {}

  [[nodiscard]] Tensor queries() const { return {q.data(), tokens, heads, width}; }
  [[nodiscard]] Tensor keys() const { return {k.data(), tokens, kv_heads, width}; }
  [[nodiscard]] Tensor values() const { return {v.data(), tokens, kv_heads, width}; }
  [[nodiscard]] BindOptions options() const {
    return {.num_heads = heads, .num_kv_heads = kv_heads};
  }
  [[nodiscard]] auto rope() const { return RoPE<HalfSplit>{.head_dim = width}; }
  [[nodiscard]] auto cache() const {
    return KeyValueCache<KeyState::raw, double>::contiguous(
        {.kv_heads = kv_heads, .head_dim = width, .capacity = tokens});
  }
  /// Tokens [first, last) into a cache.
  template <class CacheT, class B>
  void append(CacheT& cache, Index first, Index last, const B& bound) const {
    cache.append(0, keys().slice(first, last - first), values().slice(first, last - first), bound);
  }
};

std::vector<Index> tokens_of(std::span<const KeyRange> ranges) {
  std::vector<Index> all;
  for (const KeyRange& range : ranges)
    for (Index t = 0; t < range.tokens; ++t) all.push_back(range.first + t);
  return all;
}
template <class T>
double worst(std::span<const T> got, const Json& expected, std::size_t from = 0) {
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    most = std::max(most, std::abs(got[i] - expected.at(from + i).get<double>()));
  return most;
}

// --- InfLLM: a text in pieces, and then token by token ---------------------------------------------------------------

/// Blocks behind the window of a piece that begins at `first`, as far as contains(block) says that they are read.
template <class Contains>
std::vector<Index> chosen_behind(const InfLLM& method, Index first, const Contains& contains) {
  std::vector<Index> blocks;
  for (Index b = method.n_init / method.block; (b + 1) * method.block <= first - method.n_local;
       ++b)
    if (contains(b)) blocks.push_back(b);
  return blocks;
}

TEST_CASE(
    "InfLLM: the reference chooses the same blocks in pieces of a prompt and in steps, and "
    "computes the same") {
  for (const Json& one : cases_of("InfLLM")) {
    INFO(name_of(one));
    const Inputs in(one, true);
    const InfLLM method{.block = one.at("block"),
                        .n_init = one.at("n_init"),
                        .n_local = one.at("n_local"),
                        .topk = one.at("topk"),
                        .repr_topk = one.at("repr_topk"),
                        .per = one.at("per_head") ? ChoicePer::query_head : ChoicePer::sequence};
    const auto plain = bind(in.rope() | method.distances() | Causal{}, in.options());
    const auto within = bind(in.rope() | method.distances() | method.window(), in.options());
    auto cache = in.cache();
    AttentionMass mass(cache, in.heads);
    Summaries summaries(method, cache, plain);
    const Index prompt = one.at("prompt"), piece = one.at("piece"), row = in.heads * in.width;
    std::vector<double> out(in.q.size());
    std::size_t at = 0;
    for (Index first = 0; first < in.tokens; ++at) {
      const Index n = first < prompt ? piece : 1;
      const auto q = in.queries().slice(first, n);
      const TensorView<double> to(out.data() + first * row, n, in.heads, in.width);
      std::vector<double> lse(size(n * in.heads));
      in.append(cache, first, first + n, plain);
      const Lists expected = one.at("chosen").at(at);
      if (first < prompt) {
        const auto masses = mass.of(cache, 0);
        const auto chosen = choose_blocks(q, in.keys().slice(0, first + n), method, plain,
                                          {.query_block = n, .mass = masses});
        for (std::size_t c = 0; c < expected.size(); ++c)
          CHECK(chosen_behind(method, first, [&](Index b) {
                  return chosen.sets().contains(static_cast<Index>(c), 0, b);
                }) == expected[c]);
        attention(q, in.keys().slice(0, first + n), in.values().slice(0, first + n), to,
                  bind(in.rope() | method.distances() | Causal{} | chosen, in.options()),
                  {.lse = lse});
      } else {
        summaries.update(cache, 0, plain, {.mass = mass.of(cache, 0)});
        Selection chosen;
        select(q, cache, summaries, plain, chosen);
        REQUIRE(chosen.size() == std::ssize(expected));
        for (std::size_t c = 0; c < expected.size(); ++c) {
          const std::vector<Index> read = tokens_of(chosen[static_cast<Index>(c)].ranges);
          CHECK(chosen_behind(method, first, [&](Index b) {
                  return std::binary_search(read.begin(), read.end(), b * method.block);
                }) == expected[c]);
        }
        decode(q, cache, to, plain, {.lse = lse, .selection = &chosen});
      }
      mass.add(q, cache, 0, std::span<const double>(lse), within);
      first += n;
    }
    CHECK(at == one.at("chosen").size());
    // Angles of up to n_local radians, and softmaxes of numbers below sqrt(width): some hundred roundings.
    CHECK(worst(std::span<const double>(out).last(size(3 * row)), one.at("out")) < 1e-12);
  }
}

// --- LongHeads ------------------------------------------------------------------------------------------------------

TEST_CASE("LongHeads: the reference chooses the same chunks, and a step computes the same") {
  Index compared = 0;
  for (const Json& one : cases_of("LongHeads")) {
    INFO(name_of(one));
    const Inputs in(one, true);
    const LongHeads method{.chunk = one.at("chunk"), .chunks = one.at("chunks")};
    LongHeadsFeatures features(method, in.heads, in.heads, in.width);
    const auto bound = bind(in.rope() | Causal{}, in.options());
    features.append(in.queries(), in.keys(), in.values(), bind(encoding(in.rope()), in.options()));
    const Index prompt = one.at("prompt"), row = in.heads * in.width;
    auto cache = in.cache();
    in.append(cache, 0, prompt, bound);
    for (const Json& asked : one.at("chosen")) {
      const Index token = asked.at("token"), own = token / method.chunk;
      INFO("token " << token);
      Selection chosen;
      choose_chunks(in.queries().slice(token, 1), features, token, chosen);
      REQUIRE(chosen.size() == in.heads);
      const bool is_step = token >= prompt, ends_chunk = (token + 1) % method.chunk == 0;
      for (Index h = 0; h < in.heads; ++h) {
        const Blocks got = blocks_of(chosen[h], method.chunk, token);
        std::set<Index> expected = asked.at("chunks").at(size(h)).get<std::set<Index>>();
        if (is_step) expected.insert({0, own, own - 1});
        if (is_step && ends_chunk) {
          // The reference chooses among one chunk more and reads one fewer: what it chose is read here too, except that
          // the chunk before the own one is read in any case.
          CHECK(std::ssize(got) == method.chunks);
          CHECK(std::includes(got.begin(), got.end(), expected.begin(), expected.end()));
        } else {
          CHECK(got == Blocks(expected.begin(), expected.end()));
        }
      }
      if (!is_step) continue;
      in.append(cache, token, token + 1, bound);
      if (ends_chunk) continue;
      std::vector<double> out(size(row));
      decode(in.queries().slice(token, 1), cache,
             TensorView<double>(out.data(), 1, in.heads, in.width), bound, {.selection = &chosen});
      CHECK(worst(std::span<const double>(out), one.at("out"), size((token - prompt) * row)) <
            1e-12);
      ++compared;
    }
  }
  CHECK(compared > 60);
}

// --- By attention mass ----------------------------------------------------------------------------------------------

/// The last `queries` of the tokens that a cache holds, whose weights are added.
template <class CacheT, class B>
void attend(const Inputs& in, CacheT& cache, Index queries, const B& bound, AttentionMass& mass) {
  const auto q = in.queries().slice(cache.next_index(0) - queries, queries);
  std::vector<double> out(size(queries * in.heads * in.width)), lse(size(queries * in.heads));
  decode(q, cache, TensorView<double>(out.data(), queries, in.heads, in.width), bound,
         {.lse = lse});
  mass.add(q, cache, 0, std::span<const double>(lse), bound);
}
Lists kept_by_heads(const Selection& chosen) {
  Lists kept;
  for (Index c = 0; c < chosen.size(); ++c) kept.push_back(tokens_of(chosen[c].ranges));
  return kept;
}

TEST_CASE("HeavyHitters: the reference keeps the same tokens of a prompt, and step by step") {
  for (const Json& one : cases_of("H2O")) {
    INFO(name_of(one));
    const Inputs in(one);
    const HeavyHitters method{.heavy = one.at("heavy"), .recent = one.at("recent")};
    const auto bound = without_positions(in.heads, in.heads);
    auto cache = in.cache();
    AttentionMass mass(cache, in.heads);
    const Index prompt = one.at("prompt");
    in.append(cache, 0, prompt, bound);
    attend(in, cache, prompt, bound, mass);
    Selection chosen;
    keep_tokens(method, mass, cache, 0, {.queries = 1, .heads = in.heads}, chosen);
    const Json& kept = one.at("kept");
    CHECK(kept_by_heads(chosen) == kept.at(0).get<Lists>());
    if (in.heads > 1) continue;  // a cache holds a token for all heads or for none
    std::size_t at = 0;
    for (Index t = prompt;; ++t, ++at) {
      evict_tokens(method, mass, cache, 0);
      std::vector<Index> held;
      for (Index rank = 0; rank < cache.tokens(0); ++rank) held.push_back(cache.position(0, rank));
      CHECK(held == kept.at(at).at(0).get<std::vector<Index>>());
      if (t == in.tokens) break;
      in.append(cache, t, t + 1, bound);
      attend(in, cache, 1, bound, mass);
    }
    CHECK(at + 1 == kept.size());
  }
}

TEST_CASE("SnapKV: the reference keeps the same tokens of a prompt") {
  for (const Json& one : cases_of("SnapKV")) {
    INFO(name_of(one));
    const Inputs in(one);
    const SnapKV method{.capacity = one.at("capacity"),
                        .window = one.at("window"),
                        .kernel = one.at("kernel"),
                        .pooling =
                            one.at("greatest") ? SnapKV::Pooling::greatest : SnapKV::Pooling::mean};
    const auto bound = without_positions(in.heads, in.kv_heads);
    auto cache = in.cache();
    AttentionMass mass(cache, in.heads);
    in.append(cache, 0, in.tokens, bound);
    attend(in, cache, method.window, bound, mass);
    Selection chosen;
    keep_tokens(method, mass, cache, 0, {.queries = 1, .heads = in.heads}, chosen);
    CHECK(kept_by_heads(chosen) == one.at("kept").get<Lists>());
  }
}

// --- MInference, and a lightning indexer ----------------------------------------------------------------------------

TEST_CASE("VerticalSlash: the reference estimates the same columns and slashes") {
  for (const Json& one : cases_of("MInference")) {
    INFO(name_of(one));
    const Inputs in(one);
    const VerticalSlash::Size sizes[] = {
        {.columns = one.at("columns"), .slashes = one.at("slashes")}};
    const VerticalSlash pattern = estimate_vertical_slash(
        in.queries(), in.keys(), without_positions(in.heads, in.kv_heads), sizes);
    REQUIRE(std::ssize(pattern.heads) == in.heads);
    for (std::size_t h = 0; h < pattern.heads.size(); ++h) {
      const Json& expected = one.at("found").at(h);
      CHECK(pattern.heads[h].columns == expected.at(0).get<std::vector<Position>>());
      CHECK(pattern.heads[h].slashes == expected.at(1).get<std::vector<Position>>());
    }
  }
}

TEST_CASE("LightningIndexer: the indexer of DeepSeek-V3.2 chooses the same tokens") {
  for (const Json& one : cases_of("DSA")) {
    INFO(name_of(one));
    const Index tokens = one.at("tokens"), heads = one.at("heads"), width = one.at("width");
    posenc_test::Draw draw(one.at("seed"));
    std::vector<float> q = draw(tokens * heads * width);
    const std::vector<float> w = draw(tokens * heads, 1, 1);
    std::vector<float> k = draw(tokens * width);
    // Halves rotate, of the leading channels.
    const auto rope =
        bind(encoding(RoPE<HalfSplit>{.head_dim = width, .rotary_dim = one.at("rotary_dim")}),
             {.num_heads = heads, .num_kv_heads = 1});
    const TensorView<float> queries(q.data(), tokens, heads, width),
        keys(k.data(), tokens, 1, width);
    rotate(queries, Positions(0), rope);
    rotate(keys, Positions(0), rope);
    Selection chosen;
    choose_tokens({.top = one.at("top")}, {.queries = queries, .weights = w, .keys = keys}, heads,
                  chosen);
    CHECK(kept_by_heads(chosen) == one.at("chosen").get<Lists>());
  }
}

}  // namespace reference_cases
}  // namespace select_test
