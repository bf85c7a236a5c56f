// SPDX-License-Identifier: MIT
//
// decode() with a selection: what it gives is attention to the chosen keys, by the dense reference given the same
// choice as a mask, and by tensors of these keys alone.
#include "../support/allocations.hpp"
#include "../support/backwards.hpp"
#include "../support/bind_any.hpp"
#include "../support/bits.hpp"
#include "../support/cases.hpp"
#include "../support/chosen.hpp"
#include "../support/error_of.hpp"
#include "calls.hpp"

#include <posenc/gallery.hpp>

#include <Eigen/Core>

#include <string>

namespace selection_cases {

using namespace decode_test;
using posenc_test::bind_any;
using posenc_test::Chosen;

constexpr Index heads = 4, kv_heads = 2, width = 16;

/// Random ranges of some tokens.
std::vector<KeyRange> random_ranges(Random& random, Index tokens, double share, Index longest) {
  std::vector<KeyRange> ranges;
  for (Index at = 0; at < tokens;) {
    const Index n = std::min(tokens - at, 1 + random.integer(0, longest - 1));
    if (random.chance(share)) ranges.push_back({at, n});
    at += n + 1;
  }
  return ranges;
}

/// A random choice for all rows and heads.
Selection random_selection(Random& random, Index rows, Index of_heads, Index together, Index tokens,
                           double share, Index longest) {
  Selection selection;
  for (Index head = heads - of_heads; head >= 0; head -= of_heads)  // in any order
    for (Index row = 0; row < rows; row += together)
      selection.add({row, std::min(together, rows - row), head, of_heads},
                    random_ranges(random, tokens, share, longest));
  return selection;
}

/// What decode() gives with a selection against the reference with its mask.
template <KeyState State, class T>
void check(const std::string& name, const AnyEncoding& encoding, Kind kind, Index tokens,
           Index rows, const Selection& selection) {
  INFO(name << ", keys " << static_cast<int>(State) << ", cache " << static_cast<int>(kind)
            << ", heads of a choice " << selection[0].readers.heads);
  const BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
  const AnyBound bound = bind(encoding, options).at_length(tokens);
  AnyEncoding masked = encoding;
  masked |= mask(Chosen(selection, heads, rows, tokens));
  const AnyBound dense = bind(masked, options).at_length(tokens);
  const Sequence<T> sequence(tokens, heads, kv_heads, width, width);
  Holder<State, T> cache(kind, shape_for(sequence));
  append(*cache, 0, sequence, 0, tokens, bound);
  const auto call = sequence.last(rows);
  const auto result = decoded(call.q, *cache, bound, {.selection = &selection});
  CHECK(ratio(result, call, dense) <= 1);
}

bool same(const Output<float>& a, const Output<float>& b) {
  const auto x = a.out.view(), y = b.out.view();
  bool all = posenc_test::same_bits(a.lse, b.lse);
  for (Index t = 0; t < x.tokens; ++t)
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c)
        all = all && posenc_test::same_bits(x(t, h, c), y(t, h, c));
  return all;
}

TEST_CASE("every encoding reads chosen keys as the reference does that is given the same choice") {
  Random random(3);
  posenc_test::Sample sample;
  int entries = 0;
  for_each_in_gallery<HalfSplit>(
      {.head_dim = width, .num_heads = heads, .trained = 32, .target = 64},
      [&](const GalleryEntry& entry, const auto& encoding) {
        ++entries;
        const AnyEncoding any(encoding);
        const auto bound = bind(any, {.num_heads = heads, .num_kv_heads = kv_heads});
        const std::string name(entry.name);
        for (const Kind kind : {Kind::contiguous, Kind::ring, Kind::paged})
          for (const Index of_heads : {Index{1}, heads / kv_heads, heads}) {
            if (!sample.next()) continue;
            const Index tokens = 97, rows = random.integer(1, 3);
            const Selection selection =
                random_selection(random, rows, of_heads, 2, tokens, 0.6, 12);
            check<KeyState::raw, float>(name, any, kind, tokens, rows, selection);
            if (bound.has_rotary() && !bound.depends_on_length() &&
                bound.answers().facts().stored_keys == KeyState::rotated)
              check<KeyState::rotated, float>(name, any, kind, tokens, rows, selection);
          }
      });
  CHECK(entries > 40);
}

TEST_CASE("many keys, many ranges and many queries of a choice") {
  Random random(4);
  const AnyEncoding encoding = RoPE<Interleaved>{.head_dim = width} | ALiBi{} | Causal{};
  const AnyEncoding maps = RoPE<HalfSplit>{.head_dim = width} | ReRoPE{.window = 100} | Causal{};
  struct Case {
    Index tokens, rows, together;
    double share;
    Index longest;
  };
  for (const Case& of : {Case{2000, 1, 1, 0.5, 1},      // single tokens
                         Case{2000, 2, 1, 0.9, 40},     // several parts
                         Case{3000, 12, 12, 0.3, 200},  // more queries than a block
                         Case{1500, 9, 4, 1.0, 1500}})
    for (const Index of_heads : {Index{1}, heads}) {
      const Selection selection =
          random_selection(random, of.rows, of_heads, of.together, of.tokens, of.share, of.longest);
      check<KeyState::raw, float>("biased", encoding, Kind::contiguous, of.tokens, of.rows,
                                  selection);
      check<KeyState::raw, Eigen::bfloat16>("biased", encoding, Kind::paged, of.tokens, of.rows,
                                            selection);
      check<KeyState::rotated, Eigen::half>("biased", encoding, Kind::paged, of.tokens, of.rows,
                                            selection);
      check<KeyState::raw, double>("map", maps, Kind::paged, of.tokens, of.rows, selection);
    }
}

TEST_CASE("all keys chosen are no selection") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | Causal{},
                          {.num_heads = heads, .num_kv_heads = kv_heads});
  const Sequence<float> sequence(1300, heads, kv_heads, width, width);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 1300, bound);
  const auto q = sequence.last(3).q;
  const auto plain = decoded(q, *cache, bound);
  for (const Placement placement : {Placement::own, Placement::contiguous}) {
    Selection all;
    all.placement = placement;
    all.add({0, 3, 0, heads}, std::vector<KeyRange>{{0, 1300}});
    const auto result = decoded(q, *cache, bound, {.selection = &all});
    CHECK(same(plain, result));
  }
}

TEST_CASE("keys that are moved together stand at 0, 1, 2, ...") {
  Random random(5);
  const AnyBound bound =
      bind_any(RoPE<HalfSplit>{.head_dim = width} | ReRoPE{.window = 20} | ALiBi{},
               {.num_heads = heads, .num_kv_heads = kv_heads});
  const Index tokens = 400;
  const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
  Holder<KeyState::raw, float> cache(Kind::paged, shape_for(sequence));
  append(*cache, 0, sequence, 0, tokens, bound);
  const auto q = sequence.last(1).q;

  std::vector<KeyRange> ranges = random_ranges(random, tokens - 1, 0.3, 30);
  std::vector<Index> ranks;
  for (const KeyRange& range : ranges)
    for (Index i = 0; i < range.tokens; ++i) ranks.push_back(range.first + i);
  for (const bool with_own : {false, true}) {
    if (with_own) {
      ranges.push_back({tokens - 1, 1});
      ranks.push_back(tokens - 1);
    }
    Selection selection;
    selection.placement = Placement::contiguous;
    selection.add({0, 1, 0, heads}, ranges);
    const auto result = decoded(q, *cache, bound, {.selection = &selection});

    const Index chosen = std::ssize(ranks);
    Tensor<float> k(chosen, kv_heads, width), v(chosen, kv_heads, width);
    for (Index i = 0; i < chosen; ++i)
      for (Index h = 0; h < kv_heads; ++h)
        for (Index c = 0; c < width; ++c) {
          k.view()(i, h, c) = sequence.k.view()(ranks[size(i)], h, c);
          v.view()(i, h, c) = sequence.v.view()(ranks[size(i)], h, c);
        }
    Arguments<float> call{q, k.view(), v.view()};
    // Its own token is the last, or would be.
    call.options.query_offset = with_own ? chosen - 1 : chosen;
    CHECK(ratio(result, call, bound) <= 1);
  }
}

TEST_CASE("several sequences, and the same bits for any executor, in a workspace") {
  Random random(6);
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | Causal{},
                          {.num_heads = heads, .num_kv_heads = kv_heads});
  const Sequence<float> sequence(900, heads, kv_heads, width, width);
  Holder<KeyState::rotated, float> cache(Kind::contiguous, shape_for(sequence, 3));
  for (const Index s : {0, 1, 2}) append(*cache, s, sequence, 0, 600 + 100 * s, bound);
  // Sequence 2 has the rows 0 and 1 of q, sequence 0 the row 2.
  const std::vector<Index> sequences{2, 0}, starts{0, 2, 3};
  const auto q = sequence.last(3).q;
  Selection selection;
  const std::vector<KeyRange> of_2{{0, 10}, {300, 400}}, of_0{{500, 100}}, none;
  for (const Index h : {0, 2}) {
    selection.add({2, 1, h, 2}, h == 0 ? of_0 : none);
    selection.add({0, 2, h, 2}, of_2);
  }
  const DecodeOptions<float> options{
      .sequences = sequences, .starts = starts, .selection = &selection};
  const auto one = decoded(q, *cache, bound, options);

  auto others = options;
  others.executor = posenc_test::Backwards{3};
  const auto backwards = decoded(q, *cache, bound, others);
  CHECK(same(one, backwards));

  // Rows without keys are zero.
  for (Index h = 2; h < 4; ++h) {
    CHECK(one.lse[size(2 * heads + h)] == -std::numeric_limits<float>::infinity());
    for (Index c = 0; c < width; ++c) CHECK(one.out.view()(2, h, c) == 0);
  }
  // Each row equals a call by itself.
  Selection alone;
  alone.add({0, 1, 0, heads}, of_2);
  const std::vector<Index> second{2};
  const Position at = 799;  // its last token
  const auto row =
      decoded(q.slice(1, 1), *cache, bound,
              {.sequences = second, .query_positions = Positions(at), .selection = &alone});
  for (Index h = 0; h < heads; ++h)
    for (Index c = 0; c < width; ++c)
      CHECK(row.out.view()(0, h, c) == Approx(one.out.view()(1, h, c)).margin(1e-6));

  std::vector<std::byte> memory(decode_workspace(bound, *cache, selection, 3) + 64);
  const auto aligned = reinterpret_cast<std::byte*>(
      (reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
  Output<float> in_workspace(Arguments<float>{q, {}, sequence.v.view()});
  auto with_memory = options;
  with_memory.lse = in_workspace.lse;
  with_memory.workspace = {aligned, decode_workspace(bound, *cache, selection, 3)};
  const auto before = posenc_test::allocations();
  decode(q, *cache, in_workspace.out.view(), bound, with_memory);
  CHECK(posenc_test::allocations() == before);
  CHECK(same(one, in_workspace));
}

TEST_CASE("a ring may have overwritten what nobody chose") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | Causal{},
                          {.num_heads = heads, .num_kv_heads = kv_heads});
  const Sequence<float> sequence(90, heads, kv_heads, width, width);
  auto ring = KeyValueCache<KeyState::rotated>::ring(
      {.kv_heads = kv_heads, .head_dim = width, .capacity = 64}, 4);
  append(ring, 0, sequence, 0, 90, bound);
  const auto q = sequence.last(1).q;
  Selection selection;  // the sinks and the last 20, by rank
  selection.add({0, 1, 0, heads}, std::vector<KeyRange>{{0, 4}, {44, 20}});
  const auto result = decoded(q, ring, bound, {.selection = &selection});
  const auto masked =
      bind(RoPE<HalfSplit>{.head_dim = width} | SinkWindow{.sinks = 4, .window = 20},
           {.num_heads = heads, .num_kv_heads = kv_heads});
  CHECK(ratio(result, sequence.last(1), masked) <= 1);
}

TEST_CASE("distances and magnitudes count where chosen keys stand") {
  const BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};
  const Index tokens = 100;
  TransformerXL xl{.head_dim = width};  // of the distances 0 to 7
  xl.rows.assign(size(8 * heads * width), 0.25F);
  const auto vectors = bind(xl | Causal{}, shape);
  const auto growing =
      bind(RoPE<HalfSplit>{.head_dim = width} | XPos{.scale_base = 0.25} | Causal{}, shape);
  const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
  const auto q = sequence.last(1).q;
  // All at one place, at the greatest distances, and a few at the end.
  const std::vector<Position> near(size(tokens), 5);
  std::vector<Position> far(size(tokens));
  std::iota(far.begin(), far.end(), -tokens * 20);
  const std::vector<KeyRange> all{{0, tokens}}, ends{{0, 3}, {97, 3}}, last{{95, 5}};
  const auto told = [&](const auto& bound, const std::vector<Position>& at, Placement placement,
                        const std::vector<KeyRange>& ranges) {
    Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
    append(*cache, 0, sequence, 0, tokens, bound, {.positions = Positions(at)});
    Selection selection;
    selection.placement = placement;
    selection.add({0, 1, 0, heads}, ranges);
    return error_of([&] { decoded(q, *cache, bound, {.selection = &selection}); });
  };
  const auto vectors_are_missing = ContainsSubstring("vectors for distances 0 to 7");
  CHECK(told(vectors, near, Placement::own, all) == "nothing was wrong");
  CHECK_THAT(told(vectors, near, Placement::contiguous, all), vectors_are_missing);
  CHECK(told(vectors, far, Placement::contiguous, ends) == "nothing was wrong");
  CHECK_THAT(told(vectors, far, Placement::own, ends), vectors_are_missing);
  CHECK(told(vectors, far, Placement::own, last) == "nothing was wrong");

  CHECK(told(growing, near, Placement::own, all) == "nothing was wrong");
  CHECK_THAT(told(growing, near, Placement::contiguous, all), ContainsSubstring("from the centre"));
  CHECK(told(growing, far, Placement::contiguous, ends) == "nothing was wrong");
  CHECK_THAT(told(growing, far, Placement::own, ends), ContainsSubstring("from the centre"));
}

TEST_CASE("what a selection must not be is a sentence") {
  const BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | Causal{}, shape);
  const Sequence<float> sequence(50, heads, kv_heads, width, width);
  Holder<KeyState::raw, float> raw(Kind::contiguous, shape_for(sequence, 2));
  Holder<KeyState::rotated, float> rotated(Kind::contiguous, shape_for(sequence, 2));
  for (const Index s : {0, 1}) {
    append(*raw, s, sequence, 0, 50, bound);
    append(*rotated, s, sequence, 0, 50, bound);
  }
  const auto q = sequence.last(2).q;  // a row of each sequence
  const std::vector<KeyRange> some{{3, 4}};
  const auto sentence = [&](const auto& fill, Placement placement = Placement::own) {
    Selection selection;
    selection.placement = placement;
    fill(selection);
    return error_of([&] { decoded(q, *raw, bound, {.selection = &selection}); });
  };
  const auto with = [&](Selection::Readers readers, std::vector<KeyRange> ranges) {
    return sentence([&](Selection& s) { s.add(readers, ranges); });
  };
  CHECK_THAT(sentence([](Selection&) {}),
             ContainsSubstring("row 0 of q and head 0 have no choice"));
  CHECK_THAT(with({0, 1, 0, 4}, some), ContainsSubstring("row 1 of q and head 0 have no choice"));
  CHECK_THAT(sentence([&](Selection& s) {
               s.add({0, 1, 0, 2}, some), s.add({1, 1, 0, 2}, some), s.add({1, 1, 0, 2}, some);
             }),
             ContainsSubstring("row 1 of q and head 0 have two choices"));
  CHECK_THAT(with({0, 2, 0, 4}, some),
             ContainsSubstring("rows 0 to 1 of choice 0 are of different sequences"));
  CHECK_THAT(with({1, 2, 0, 4}, some),
             ContainsSubstring("q has 2 rows, but choice 0 is for 2 from row 1 on"));
  CHECK_THAT(with({0, 1, 0, 3}, some),
             ContainsSubstring("for all 4 query heads, for the 2 of a key head, or for one"));
  CHECK_THAT(with({0, 1, 1, 2}, some), ContainsSubstring("is for 2 from head 1 on"));
  CHECK_THAT(sentence([&](Selection& s) { s.add({0, 1, 0, 4}, some), s.add({1, 1, 0, 1}, some); }),
             ContainsSubstring("choice 0 is for 4 and choice 1 for 1"));
  CHECK_THAT(with({0, 1, 0, 4}, {{40, 11}}), ContainsSubstring("within the 50 tokens"));
  CHECK_THAT(with({0, 1, 0, 4}, {{4, 3}, {6, 2}}),
             ContainsSubstring("2 tokens from rank 6 on, after rank 7"));
  CHECK_THAT(with({0, 1, 0, 4}, {{4, 0}}), ContainsSubstring("not empty"));
  CHECK_THAT(with({0, 1, 0, 4}, {{-1, 2}}), ContainsSubstring("from rank -1 on"));
  CHECK_THAT(with({0, 1, 0, 4}, {{3, std::numeric_limits<Index>::max()}}),
             ContainsSubstring("from rank 3 on"));

  Selection together;
  together.placement = Placement::contiguous;
  for (const Index row : {0, 1}) together.add({row, 1, 0, heads}, some);
  CHECK_THAT(error_of([&] { decoded(q, *rotated, bound, {.selection = &together}); }),
             ContainsSubstring("need a cache of raw keys"));
  const std::vector<Position> ids{3, 4};
  CHECK_THAT(
      error_of([&] { decoded(q, *raw, bound, {.query_positions = ids, .selection = &together}); }),
      ContainsSubstring("neither query_positions"));
  const auto dynamic = bind(
      RoPE<HalfSplit>{.head_dim = width} | DynamicNTK{.factor = 2, .original_context = 20}, shape);
  CHECK_THAT(error_of([&] { decoded(q, *raw, dynamic, {.selection = &together}); }),
             ContainsSubstring("follow the length"));
}

}  // namespace selection_cases
