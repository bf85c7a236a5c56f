// SPDX-License-Identifier: MIT
//
// Vectors by distance in the kernel: with everything else that an encoding may have, at every level,
// in calls of every kind.
#include "../support/bind_any.hpp"
#include "../support/cases.hpp"
#include "formula.hpp"
#include "pairs_of_distances.hpp"

#include <posenc/attention/ragged.hpp>
#include <posenc/bias/alibi.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/executor/pool.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/documents.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/mask/prefix_lm.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/relative/deberta.hpp>
#include <posenc/relative/shaw.hpp>
#include <posenc/relative/transformer_xl.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/score/log_n.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>

namespace relative_test {
namespace relative_cases {

constexpr Index heads = 6, kv_heads = 2, width = 16, value_dim = 19;

ShawKeys shaw_keys(Position clip) { return {noise((2 * clip + 1) * width, 1), clip}; }
ShawValues shaw_values(Position clip) { return {noise((2 * clip + 1) * value_dim, 2), clip}; }
DeBERTa deberta() {
  return {noise(2 * 24 * heads * width, 3), noise(2 * 24 * heads * width, 4), 24, 50};
}
/// Distances of both signs, any at all.
TransformerXL xl(Position clamp) {
  return {.head_dim = width,
          .rows = noise((2 * clamp + 1) * heads * width, 5, 0.5),
          .u = noise(heads * width, 6),
          .v = noise(heads * width, 7),
          .first_distance = -clamp,
          .clamp_len = clamp};
}

using PairsOfDistances = relative_test::PairsOfDistances<heads, width, value_dim>;

/// Position ids that go back and forth.
std::vector<Position> scattered(Index tokens, Position spread, std::uint64_t seed) {
  Random random(seed);
  std::vector<Position> ids;
  for (Index i = 0; i < tokens; ++i) ids.push_back(random.integer(-spread, spread));
  return ids;
}

struct Shape {
  Index queries, keys;
  Position spread;  ///< of position ids; 0: none
};
/// One token, tails of tiles and panels, more than one chunk and block, parts of the keys.
const std::vector<Shape> shapes{{1, 1, 0},     {1, 77, 0},    {65, 65, 0},     {130, 333, 0},
                                {430, 300, 0}, {70, 300, 40}, {33, 270, 2000}, {2, 4200, 0}};

template <class T, class E>
void check_all(const char* name, const E& encoding) {
  INFO(name);
  const auto bound =
      posenc_test::bind_any(encoding, {.num_heads = heads, .num_kv_heads = kv_heads});
  using Memory = typename Tensor<T>::Memory;
  int n = 0;
  static posenc_test::Sample sample;
  for (const Shape& s : shapes) {
    if (!sample.next()) continue;
    const Memory memory = std::array<Memory, 3>{Tensor<T>::token_major, Tensor<T>::padded,
                                                Tensor<T>::head_major}[size(n++ % 3)];
    INFO(s.queries << " x " << s.keys << ", ids within " << s.spread);
    const Inputs<T> inputs(s.queries, s.keys, heads, kv_heads, width, value_dim, 2, memory);
    Arguments<T> call = inputs.call();
    const std::vector<Position> query = scattered(s.queries, s.spread, 1),
                                key = scattered(s.keys, s.spread, 2);
    if (s.spread != 0) {
      call.options.query_positions = Positions(query);
      call.options.key_positions = Positions(key);
    }
    const ReferenceResult expected =
        reference_attention(call.q, call.k, call.v, bound, call.options);
    at_every_level([&] { CHECK(off_reference(call, bound, expected) <= close<T>); });
  }
}

template <class T>
void check_encodings() {
  const RoPE<HalfSplit> rope{.head_dim = width};
  check_all<T>("Shaw", shaw_keys(5) | shaw_values(9) | Causal{});
  check_all<T>("TransformerXL", xl(400) | Causal{});
  check_all<T>("DeBERTa", deberta());
  check_all<T>("one of the user's", encoding(PairsOfDistances(700)));
  check_all<T>("rotated values", rope | RotateValues{} | shaw_values(4) |
                                     Documents{.starts = {0, 20, 100}} | PairsOfDistances(6));
  check_all<T>("a distance map", rope | YaRN{.factor = 4, .original_context = 64} |
                                     ReRoPE{.window = 30} | xl(50) | deberta() | SinkLogit{});
  // Everything adds up, under temperature, before biases, cap and masks.
  check_all<T>("all", ALiBi{} | shaw_keys(3) | SlidingWindow{.left = 150, .right = 3} | xl(20) |
                          SoftCap{4} | shaw_values(7) | deberta() | shaw_keys(40) | rope |
                          LogN{.base_length = 64} | shaw_values(0) | PairsOfDistances(9));
}

TEST_CASE("vectors by distance: kernel and reference", "[relative]") { check_encodings<float>(); }
TEST_CASE("vectors by distance: kernel and reference in double", "[relative]") {
  check_encodings<double>();
}

TEST_CASE("vectors by distance: parts of the keys, whoever runs them", "[relative]") {
  const auto bound =
      posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | shaw_keys(30) | shaw_values(3000) |
                                xl(5000) | deberta() | PrefixLM{20} | SoftCap{20},
                            {.num_heads = heads, .num_kv_heads = kv_heads});
  for (const auto& [queries, keys] : {std::pair<Index, Index>{3, 9000}, {70, 5000}}) {
    CAPTURE(queries, keys);
    const Inputs<float> inputs(queries, keys, heads, kv_heads, width, value_dim);
    Arguments<float> call = inputs.call();
    call.options.executor = Serial{};
    const Output<float> expected = attend(call, bound);
    if (queries == 3) CHECK(off_reference(call, bound) <= close<float>);
    for (const Index threads : {2, 5, 64}) {
      call.options.executor = Backwards{threads};
      CHECK(differing_rows(attend_in_nan(call, bound), expected) == 0);
    }
  }
}

TEST_CASE("vectors by distance: a long run of equal weights", "[relative]") {
  // 8192 keys of one bucket and one weight: a running sum would drift.
  constexpr Index keys = 8192;
  Inputs<float> inputs(20, keys, 1, 1, 4, 3, 0);
  for (Index j = 0; j < keys; ++j)
    for (Index c = 0; c < 4; ++c) inputs.k.view()(j, 0, c) = -0.37F;
  for (Index r = 0; r < 20; ++r) inputs.q.view()(r, 0, 0) = 1;
  inputs.k.view()(0, 0, 0) = 0;
  const auto bound = posenc_test::bind_any(ShawValues{std::vector<float>(9, 1.0F), 1});
  const Output<float> got = attend(inputs.call(), bound);
  const Output<float> plain = attend(inputs.call(), posenc_test::bind_any(encoding()));
  for (Index r = 0; r < 20; ++r)
    for (Index c = 0; c < 3; ++c)
      CHECK(std::abs(got.out.view()(r, 0, c) - plain.out.view()(r, 0, c) - 1) <= 1e-6F);
}

TEST_CASE("vectors by distance: other queries have no effect", "[relative]") {
  const auto bound = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | shaw_keys(5) |
                                               shaw_values(20) | xl(500) | deberta() | Causal{},
                                           {.num_heads = heads, .num_kv_heads = kv_heads});
  const Inputs<float> inputs(300, 400, heads, kv_heads, width, value_dim);
  const Arguments<float> call = inputs.call();
  const Output<float> all = attend(call, bound);
  for (const auto& [first, count] : {std::pair<Index, Index>{5, 295}, {100, 1}, {177, 30}}) {
    CAPTURE(first, count);
    const Output<float> some = attend<float>(
        {call.q.slice(first, count), call.k, call.v, {.query_offset = 100 + first}}, bound);
    Index differ = 0;
    for (Index r = 0; r < count; ++r)
      for (Index h = 0; h < heads; ++h) differ += same_row(some, r, all, first + r, h) ? 0 : 1;
    CHECK(differ == 0);
  }
}

TEST_CASE("vectors by distance: tiles with more buckets than there is room for", "[relative]") {
  // The first and the last tile need the same few vectors, the one between them many more.
  const Inputs<float> inputs(16, 192, heads, kv_heads, width, value_dim);
  Arguments<float> call = inputs.call();
  std::vector<Position> key = scattered(192, 2000, 3);
  for (Index j = 0; j < 192; ++j)
    if (j / 64 != 1) key[size(j)] = j % 64;
  call.options.key_positions = Positions(key);
  CHECK(off_reference(call, posenc_test::bind_any(xl(2500), {.num_heads = heads,
                                                             .num_kv_heads = kv_heads})) <=
        close<float>);
}

TEST_CASE("vectors by distance: what is hidden has no effect", "[relative]") {
  constexpr Index tokens = 140, hidden = 70;
  Inputs<float> inputs(tokens, tokens, heads, kv_heads, width, value_dim);
  const auto bound = posenc_test::bind_any(
      RoPE<HalfSplit>{.head_dim = width} | shaw_keys(5) | shaw_values(5) | xl(200) | deberta() |
          mask([](const Score& at) { return at.key_index != hidden && at.query_index != 3; }),
      {.num_heads = heads, .num_kv_heads = kv_heads});
  const Output<float> before = attend(inputs.call(), bound);
  for (const float bad : {std::nanf(""), HUGE_VALF}) {
    for (Index h = 0; h < kv_heads; ++h) {
      for (Index c = 0; c < width; ++c) inputs.k.view()(hidden, h, c) = bad;
      for (Index c = 0; c < value_dim; ++c) inputs.v.view()(hidden, h, c) = bad;
    }
    CHECK(differing_rows(attend(inputs.call(), bound), before) == 0);
  }
  for (Index h = 0; h < heads; ++h) {
    CHECK(before.lse[size(3 * heads + h)] == -HUGE_VALF);
    for (Index c = 0; c < value_dim; ++c) CHECK(before.out.view()(3, h, c) == 0);
  }
}

TEST_CASE("vectors by distance: sequences of a batch", "[relative]") {
  const auto bound =
      posenc_test::bind_any(shaw_keys(5) | shaw_values(30) | xl(90) | deberta() | Causal{},
                            {.num_heads = heads, .num_kv_heads = kv_heads});
  const std::vector<Index> starts{0, 17, 17, 100, 190};
  const Inputs<float> inputs(190, 190, heads, kv_heads, width, value_dim);
  const Arguments<float> call = inputs.call();
  for (const Index threads : {1, 2, 7}) {
    CAPTURE(threads);
    const Workspace workspace(attention_workspace<float>(
        bound, RaggedBatch{starts}, RaggedBatch{starts}, width, value_dim, Backwards{threads}));
    Output<float> got(call);
    attention(call.q, call.k, call.v, got.out.view(), RaggedBatch{starts}, bound,
              {.lse = got.lse, .executor = Backwards{threads}, .workspace = workspace.memory()});
    CHECK(workspace.guards_are_whole());
    for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
      const Index first = starts[i], tokens = starts[i + 1] - first;
      if (tokens == 0) continue;
      const Output<float> own = attend<float>(
          {call.q.slice(first, tokens), call.k.slice(first, tokens), call.v.slice(first, tokens)},
          bound);
      Index differ = 0;
      for (Index r = 0; r < tokens; ++r)
        for (Index h = 0; h < heads; ++h) differ += same_row(got, first + r, own, r, h) ? 0 : 1;
      CHECK(differ == 0);
    }
  }
}

TEST_CASE("vectors by distance: in place", "[relative]") {
  const auto bound = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | xl(60) | deberta(),
                                           {.num_heads = heads, .num_kv_heads = kv_heads});
  Inputs<float> inputs(130, 130, heads, kv_heads, width, width);
  const Arguments<float> call = inputs.call();
  const Output<float> expected = attend(call, bound);
  attention(call.q, call.k, call.v, inputs.q.view(), bound);
  Index differ = 0;
  for (Index r = 0; r < 130; ++r)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < width; ++c)
        differ += same_bits(inputs.q.view()(r, h, c), expected.out.view()(r, h, c)) ? 0 : 1;
  CHECK(differ == 0);
}

TEST_CASE("vectors by distance: room for what is asked and no more", "[relative]") {
  const auto bound_to = [](const auto& encoding) {
    return posenc_test::bind_any(encoding, {.num_heads = heads, .num_kv_heads = kv_heads});
  };
  const auto bytes_of = [](const auto& bound, Index queries, Index keys) {
    return attention_workspace<float>(bound, {queries, keys, width, value_dim}, Serial{});
  };
  const auto bytes = [&](const auto& encoding, Index queries, Index keys) {
    return bytes_of(bound_to(encoding), queries, keys);
  };
  const std::size_t plain = bytes(encoding(Causal{}), 2000, 2000);
  CHECK(bytes(DeBERTa{} | Causal{}, 2000, 2000) <= plain + 4096);
  // A longer table needs no more room than the distances of a panel and a chunk.
  CHECK(bytes(xl(10'000) | Causal{}, 2000, 2000) == bytes(xl(1'000) | Causal{}, 2000, 2000));
  CHECK(bytes(xl(10) | Causal{}, 2000, 2000) < bytes(xl(1'000) | Causal{}, 2000, 2000));
  // Smaller calls fit.
  const auto all = bound_to(shaw_keys(50) | shaw_values(300) | xl(3000) | deberta() | Causal{});
  Index wrong = 0;
  for (const Index keys : {1, 63, 300, 4'096, 9'000})
    for (Index queries = 1; queries < 600; queries += 7) {
      wrong += bytes_of(all, queries, keys) > bytes_of(all, queries + 7, keys) ? 1 : 0;
      wrong += bytes_of(all, queries, keys) > bytes_of(all, queries, 70'000) ? 1 : 0;
    }
  CHECK(wrong == 0);
}

}  // namespace relative_cases
}  // namespace relative_test
