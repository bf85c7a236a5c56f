// SPDX-License-Identifier: MIT
//
// The arguments of decode(): several sequences and their order, positions of queries, workspace,
// threads; and what is wrong with them.
#include "calls.hpp"
#include "../support/bind_any.hpp"

#include "../attention/calls.hpp"
#include "../support/allocations.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/xpos.hpp>
#include <posenc/score/log_n.hpp>

namespace decode_test {
namespace calls_cases {

using attention_test::Backwards;
using attention_test::differing_rows;
using attention_test::same_bits;
using attention_test::Workspace;
using posenc_test::allocations;

constexpr Index heads = 4, kv_heads = 2, width = 16;
constexpr BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};
const auto rotary =
    posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | ALiBi{} | Causal{}, shape);
using RotaryBound = std::remove_const_t<decltype(rotary)>;

/// Five sequences of different lengths in one cache; the last one is empty.
struct Batch {
  std::vector<Index> lengths{33, 1, 130, 1400, 0};
  std::vector<Sequence<float>> sequences;
  Holder<KeyState::raw, float> cache{Kind::paged,
                                     {.sequences = 5,
                                      .kv_heads = kv_heads,
                                      .head_dim = width,
                                      .value_dim = width,
                                      .capacity = 1400}};
  template <class BoundT>
  explicit Batch(const BoundT& bound) {
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      sequences.emplace_back(lengths[s], heads, kv_heads, width, width, 10 * s);
      append(*cache, std::ssize(sequences) - 1, sequences.back(), 0, lengths[s], bound);
    }
  }
  /// The last queries of some sequences, one after another.
  [[nodiscard]] Tensor<float> queries(std::span<const Index> which,
                                      std::span<const Index> counts) const {
    Tensor<float> all(std::accumulate(counts.begin(), counts.end(), Index{0}), heads, width);
    Index row = 0;
    for (std::size_t i = 0; i < which.size(); ++i) {
      const Sequence<float>& from = sequences[size(which[i])];
      const Index first = lengths[size(which[i])] - counts[i];
      for (Index t = 0; t < counts[i]; ++t, ++row)
        for (Index h = 0; h < heads; ++h)
          for (Index c = 0; c < width; ++c) all.view()(row, h, c) = from.q.view()(first + t, h, c);
    }
    return all;
  }
};

std::vector<Index> starts_of(const std::vector<Index>& counts) {
  std::vector<Index> starts{0};
  for (const Index n : counts) starts.push_back(starts.back() + n);
  return starts;
}

template <class BoundT>
void check_batch(const Batch& batch, const BoundT& bound, const std::vector<Index>& which,
                 const std::vector<Index>& counts, bool equal_shares) {
  const Tensor<float> q = batch.queries(which, counts);
  const std::vector<Index> starts = starts_of(counts);
  DecodeOptions<float> options{.sequences = which};
  if (!equal_shares) options.starts = starts;
  Batch& mine = const_cast<Batch&>(batch);
  const Output<float> all = decoded(q.view(), *mine.cache, bound, options);
  for (std::size_t i = 0; i < which.size(); ++i) {
    INFO("sequence " << which[i]);
    const auto call = batch.sequences[size(which[i])].last(counts[i]);
    Output<float> one(call);
    for (Index r = 0; r < counts[i]; ++r)
      for (Index h = 0; h < heads; ++h) {
        one.lse[size(r * heads + h)] = all.lse[size((starts[i] + r) * heads + h)];
        for (Index c = 0; c < width; ++c)
          one.out.view()(r, h, c) = all.out.view()(starts[i] + r, h, c);
      }
    CHECK(ratio(one, call, bound) <= 1);
    // Others in the call change no bit.
    const Output<float> alone =
        decoded(call.q, *mine.cache, bound, {.sequences = std::span(which).subspan(i, 1)});
    CHECK(differing_rows(one, alone) == 0);
  }
}

TEST_CASE("decode: sequences in any order, each with as many queries as it has") {
  const Batch batch(rotary);
  check_batch(batch, rotary, {3, 0, 2, 1, 4}, {9, 2, 20, 1, 0}, false);
  check_batch(batch, rotary, {2, 0}, {0, 17}, false);
  check_batch(batch, rotary, {2, 0, 3}, {5, 5, 5}, true);
  check_batch(batch, rotary, {1}, {1}, true);
}

TEST_CASE("decode: each sequence is evaluated at its own length") {
  const auto by_length =
      posenc_test::bind_any(RoPE<Interleaved>{.head_dim = width} |
                                DynamicNTK{.original_context = 20, .form = DynamicNTKForm::paper} |
                                LogN{.base_length = 16} | Causal{},
                            shape);
  const Batch batch(by_length);
  check_batch(batch, by_length, {3, 0, 2, 1}, {3, 2, 9, 1}, false);
  check_batch(batch, by_length.at_length(77), {3, 0, 2, 1}, {3, 2, 9, 1}, false);
}

TEST_CASE("decode: all sequences by default") {
  const Sequence<float> a(20, heads, kv_heads, width, width),
      b(20, heads, kv_heads, width, width, 9);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(a, 2));
  append(*cache, 0, a, 0, 20, rotary);
  append(*cache, 1, b, 0, 20, rotary);
  Tensor<float> q(4, heads, width);
  for (Index t = 0; t < 4; ++t)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < width; ++c)
        q.view()(t, h, c) = (t < 2 ? a : b).q.view()(18 + t % 2, h, c);
  const Output<float> both = decoded(q.view(), *cache, rotary);
  for (const Index s : {0, 1}) {
    const Output<float> one =
        decoded((s == 0 ? a : b).last(2).q, *cache, rotary, {.sequences = std::vector<Index>{s}});
    for (const Index r : {0, 1})
      for (Index h = 0; h < heads; ++h) CHECK(attention_test::same_row(both, 2 * s + r, one, r, h));
  }
}

TEST_CASE("decode: queries stand where they are said to; masks go by the last tokens") {
  const Sequence<float> sequence(70, heads, kv_heads, width, width);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 70, rotary);
  auto call = sequence.last(3);
  const std::vector<Position> at{500, 7, -4};
  call.options.query_positions = at;
  CHECK(ratio(decoded(call.q, *cache, rotary, {.query_positions = at}), call, rotary) <= 1);
  call.options.query_positions = Positions(1'000'000);
  CHECK(ratio(decoded(call.q, *cache, rotary, {.query_positions = Positions(1'000'000)}), call,
              rotary) <= 1);

  const auto spatial = posenc_test::bind_any(
      RoPE<HalfSplit>{.head_dim = width} | MRoPE{.sections = {4, 2, 2}} | Causal{}, shape);
  Holder<KeyState::rotated, float> images(Kind::contiguous, [&] {
    CacheShape s = shape_for(sequence);
    s.axes = 3;
    return s;
  }());
  std::vector<Position> of_keys, of_queries;
  for (Index axis = 0; axis < 3; ++axis) {
    for (Index t = 0; t < 70; ++t) of_keys.push_back(t % (7 + axis));
    for (Index t = 0; t < 3; ++t) of_queries.push_back(20 * axis + t);
  }
  append(*images, 0, sequence, 0, 70, spatial, {Positions(of_keys, 3)});
  call.options.key_positions = Positions(of_keys, 3);
  call.options.query_positions = Positions(of_queries, 3);
  CHECK(ratio(decoded(call.q, *images, spatial, {.query_positions = Positions(of_queries, 3)}),
              call, spatial) <= 1);
}

TEST_CASE("decode: lengths count the queries' positions too") {
  const auto by_length =
      posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} |
                                DynamicNTK{.original_context = 20, .form = DynamicNTKForm::paper} |
                                Causal{},
                            shape);
  const Sequence<float> sequence(30, heads, kv_heads, width, width);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 30, by_length);
  auto call = sequence.last(1);
  call.options.query_positions = Positions(99);
  const Output<float> far = decoded(call.q, *cache, by_length, {.query_positions = Positions(99)});
  CHECK(ratio(far, call, by_length.at_length(100)) <= 1);
  CHECK(ratio(far, call, by_length.at_length(30)) > 1);
}

TEST_CASE("decode: strides of q and out, and in place") {
  const Sequence<float> sequence(70, heads, kv_heads, width, width);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 70, rotary);
  const Index queries = 9;
  const auto call = sequence.last(queries);
  const Output<float> expected = decoded(call.q, *cache, rotary);
  for (const auto memory : {Tensor<float>::head_major, Tensor<float>::padded}) {
    Tensor<float> q(queries, heads, width, memory);
    for (Index t = 0; t < queries; ++t)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c) q.view()(t, h, c) = call.q(t, h, c);
    Output<float> result(call, memory);
    decode(q.view(), *cache, result.out.view(), rotary, {.lse = result.lse});
    CHECK(differing_rows(result, expected) == 0);
    decode(q.view(), *cache, q.view(), rotary);
    bool same = true;
    for (Index t = 0; t < queries; ++t)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c)
          same = same && same_bits(q.view()(t, h, c), expected.out.view()(t, h, c));
    CHECK(same);
  }
}

TEST_CASE("decode: a workspace of the size that is told is enough, and nothing is allocated") {
  const Batch made(rotary);
  Batch& batch = const_cast<Batch&>(made);
  for (const Index queries : {1, 3, 9})
    for (const Index threads : {1, 3, 64}) {
      INFO(queries << " queries, " << threads << " threads");
      const AnyExecutor executor =
          threads == 1 ? AnyExecutor(Serial{}) : AnyExecutor(Backwards{threads});
      const Workspace workspace(decode_workspace(rotary, *batch.cache, queries, executor));
      const std::vector<Index> which{3, 0, 2};
      const std::vector<Index> counts{queries, 1, queries};
      const std::vector<Index> starts = starts_of(counts);
      const Tensor<float> q = batch.queries(which, counts);
      const Output<float> expected =
          decoded(q.view(), *batch.cache, rotary, {.sequences = which, .starts = starts});
      Arguments<float> sizes;
      sizes.q = q.view();
      sizes.v.width = width;
      Output<float> result(sizes);
      const DecodeOptions<float> options{.sequences = which,
                                         .starts = starts,
                                         .lse = result.lse,
                                         .executor = executor,
                                         .workspace = workspace.memory()};
      const std::size_t before = allocations();
      decode(q.view(), *batch.cache, result.out.view(), rotary, options);
      CHECK(allocations() == before);
      CHECK(workspace.guards_are_whole());
      CHECK(differing_rows(result, expected) == 0);
      // The size that a call asks for is that of its own tokens, which are fewer.
      const std::span<std::byte> half = workspace.memory().first(workspace.memory().size() / 64);
      CHECK_THROWS_WITH(
          decode(q.view(), *batch.cache, result.out.view(), rotary,
                 {.sequences = which, .starts = starts, .executor = executor, .workspace = half}),
          ContainsSubstring("workspace"));
    }
}

TEST_CASE("decode: empty calls") {
  const Batch made(rotary);
  Batch& batch = const_cast<Batch&>(made);
  Tensor<float> none(0, heads, width);
  CHECK_NOTHROW(decode(none.view(), *batch.cache, none.view(), rotary));
  CHECK_NOTHROW(decode(none.view(), *batch.cache, none.view(), rotary,
                       {.sequences = std::vector<Index>{4}, .starts = std::vector<Index>{0, 0}}));
}

TEST_CASE("decode: the same bits whatever the threads") {
  const Batch made(rotary);
  Batch& batch = const_cast<Batch&>(made);
  const std::vector<Index> which{3, 2, 0}, counts{9, 1, 2}, starts = starts_of(counts);
  const Tensor<float> q = batch.queries(which, counts);
  const Output<float> expected = decoded(
      q.view(), *batch.cache, rotary, {.sequences = which, .starts = starts, .executor = Serial{}});
  for (const Index threads : {2, 3, 5, 64})
    CHECK(differing_rows(
              decoded(q.view(), *batch.cache, rotary,
                      {.sequences = which, .starts = starts, .executor = Backwards{threads}}),
              expected) == 0);
}

TEST_CASE("decode: what is wrong is said") {
  const Batch made(rotary);
  Batch& batch = const_cast<Batch&>(made);
  Tensor<float> q(5, heads, width), out(5, heads, width);
  q.fill(Random(1));
  out.fill(Random(2));
  const auto check = [&](const TensorView<const float>& x, const TensorView<float>& y,
                         const DecodeOptions<float>& options,
                         const std::vector<std::string>& sentences) {
    const std::vector<float> before(out.view().data, out.view().data + 5 * heads * width);
    try {
      decode(x, *batch.cache, y, rotary, options);
      FAIL_CHECK("not refused: " << sentences.front());
    } catch (const Error& error) {
      for (const std::string& sentence : sentences)
        CHECK_THAT(error.what(), ContainsSubstring(sentence));
    }
    CHECK(std::equal(before.begin(), before.end(), out.view().data));
  };
  const std::vector<Index> first{0}, twice{0, 2};
  const TensorView<float> good = q.view(), result = out.view();
  const std::vector<Index> none{5}, negative{-1};
  check(good, result, {.sequences = none}, {"the cache has sequences 0 to 4, got 5."});
  check(good, result, {.sequences = negative}, {"the cache has sequences 0 to 4, got -1."});
  check(good, result, {.sequences = twice},
        {"q has 5 tokens for 2 sequences: give each equally many, or say with starts which belong "
         "to which."});
  const std::vector<Index> short_starts{0, 5}, gap{0, 3}, down{0, 6, 5};
  check(good, result, {.sequences = twice, .starts = short_starts},
        {"got 2 starts for 2 sequences; there must be one more than sequences."});
  check(good, result, {.sequences = first, .starts = gap}, {"5"});
  check(good, result, {.sequences = twice, .starts = down}, {"6"});
  const std::vector<Index> empty{4};
  check(good, result, {.sequences = empty},
        {"sequence 4 holds 0 tokens but has 5 queries: append their keys and values before "
         "decode()."});
  const std::vector<Index> both{1, 4}, five{0, 2, 5};
  check(good, result, {.sequences = both, .starts = five},
        {"sequence 1 holds 1 tokens but has 2 queries", "sequence 4 holds 0 tokens but has 3"});
  std::vector<float> lse(19);
  check(good, result, {.sequences = first, .lse = lse},
        {"lse has 19 elements for 5 queries of 4 heads."});
  const std::vector<Position> ids{1, 2};
  check(good, result, {.sequences = first, .query_positions = ids},
        {"queries: got 2 position ids for 5 tokens."});
  const std::vector<double> real(5, 0.5);
  check(good, result, {.sequences = first, .query_positions = real}, {"whole positions"});
  const std::vector<Position> three(15, 1);
  check(good, result, {.sequences = first, .query_positions = Positions(three, 3)},
        {"got positions of 3 coordinates"});
  check(good.slice(0, 4), result, {.sequences = first},
        {"out is [5, 4, 16] but must be [4, 4, 16]."});
  Tensor<float> narrow_q(5, heads, 15), few(5, 3, width);
  check(narrow_q.view(), result, {.sequences = first},
        {"q is [5, 4, 15] but must have 4 heads of 16 channels."});
  check(few.view(), result, {.sequences = first}, {"must have 4 heads of 16 channels."});
  TensorView<float> swapped = good;
  std::swap(swapped.tokens, swapped.heads);
  check(swapped, result, {.sequences = first},
        {"q is [4, 5, 16] but must have 4 heads of 16 channels. With tokens and heads swapped it "
         "would fit"});
  Tensor<float> narrow_out(heads, 5, 15);
  CHECK_THROWS_WITH(decode(good, *batch.cache, narrow_out.view(), rotary, {.sequences = first}),
                    ContainsSubstring("out is [4, 5, 15] but must be [5, 4, 16].") &&
                        !ContainsSubstring("swapped"));
  check({nullptr, 5, heads, width}, result, {.sequences = first}, {"q", "null"});
  TensorView<float> shared = result;
  shared.token_stride = 0;
  check(good, shared, {.sequences = first}, {"share an element"});
  check({result.data + 1, 4, heads, width}, result.slice(0, 4), {.sequences = first},
        {"out must be the same view as q or must not overlap it."});
  const Workspace small(64);
  check(good, result, {.sequences = first, .workspace = small.memory()}, {"workspace", "64"});
  const Workspace odd(1 << 20);
  check(good, result, {.sequences = first, .workspace = odd.memory().subspan(8)}, {"aligned"});

  const auto other = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | Causal{},
                                           {.num_heads = 6, .num_kv_heads = 3});
  CHECK_THROWS_WITH(decode(good, *batch.cache, result, other, {.sequences = first}),
                    ContainsSubstring("the cache has 2 key heads but the encoding is bound to 3."));
  CHECK_THROWS_WITH(static_cast<void>(decode_workspace(other, *batch.cache)),
                    ContainsSubstring("the cache has 2 key heads"));
  const auto wide = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 32} | Causal{}, shape);
  CHECK_THROWS_WITH(
      decode(good, *batch.cache, result, wide, {.sequences = first}),
      ContainsSubstring("keys of 16 channels but the encoding is bound to heads of 32"));
  CHECK_THROWS_WITH(
      static_cast<void>(decode_workspace(rotary, *batch.cache, 0)),
      ContainsSubstring("queries_per_sequence must be positive and at most 2^40, got 0."));
}

TEST_CASE("decode: keys that another encoding rotated are refused") {
  const Sequence<float> sequence(9, heads, kv_heads, width, width);
  const auto check = [&](const auto& mine, const auto& other) {
    Holder<KeyState::rotated, float> cache(Kind::contiguous, shape_for(sequence));
    append(*cache, 0, sequence, 0, 9, mine);
    CHECK_NOTHROW(decoded(sequence.last(1).q, *cache, mine));
    CHECK_THROWS_WITH(decoded(sequence.last(1).q, *cache, other),
                      ContainsSubstring("the keys of sequence 0 were rotated by another encoding"));
    CHECK_THROWS_WITH(append(*cache, 0, sequence, 0, 0, other),
                      ContainsSubstring("the keys of sequence 0 were rotated by another encoding"));
    cache->clear(0);
    append(*cache, 0, sequence, 0, 9, other);
    CHECK_NOTHROW(decoded(sequence.last(1).q, *cache, other));
    CHECK_THROWS_WITH(decoded(sequence.last(1).q, *cache, mine),
                      ContainsSubstring("the keys of sequence 0 were rotated by another encoding"));
  };
  const RoPE<HalfSplit> rope{.head_dim = width};
  const auto plain = posenc_test::bind_any(rope, shape);
  check(plain, posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width, .base = 500'000}, shape));
  check(plain, posenc_test::bind_any(RoPE<Interleaved>{.head_dim = width}, shape));
  check(plain, posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width, .rotary_dim = 8}, shape));
  check(posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width, .rotary_dim = 8}, shape),
        posenc_test::bind_any(
            RoPE<HalfSplit>{.head_dim = width, .rotary_dim = 8, .rotary_offset = 8}, shape));
  check(plain, posenc_test::bind_any(rope | XPos{}, shape));
  check(posenc_test::bind_any(rope | XPos{}, shape),
        posenc_test::bind_any(rope | XPos{.centre = 5}, shape));
  check(plain, posenc_test::bind_any(rope | MRoPE{.sections = {4, 2, 2}}, shape));
  check(plain, posenc_test::bind_any(
                   rope, {.num_heads = heads, .num_kv_heads = kv_heads, .angles = Angles::ggml}));
  check(plain, posenc_test::bind_any(ALiBi{}, shape));  // which rotates nothing
}

}  // namespace calls_cases
}  // namespace decode_test
