// SPDX-License-Identifier: MIT
//
// What a cache refuses: each sentence with its values, and nothing changed.
#include "../decode/calls.hpp"

#include <posenc/cache/rerotate.hpp>
#include <posenc/distance/dual_chunk.hpp>
#include <posenc/eigen.hpp>
#include <posenc/frequency/abf.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/axial_2d.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/rotary/xpos.hpp>

namespace cache_test {
namespace misuse_cases {

using namespace decode_test;
using Raw = KeyValueCache<KeyState::raw, float>;
using Rotated = KeyValueCache<KeyState::rotated, float>;

constexpr Index width = 8;
const CacheShape small{.sequences = 2, .head_dim = width, .capacity = 6};
const auto plain = bind(RoPE<HalfSplit>{.head_dim = width} | Causal{});

/// So many tokens.
struct Rows {
  Tensor<float> k, v;
  explicit Rows(Index tokens, Index heads = 1, Index key_width = width, Index value_width = width)
      : k(tokens, heads, key_width), v(tokens, heads, value_width) {
    k.fill(Random(1));
    v.fill(Random(2));
  }
};
template <class CacheT>
void add(CacheT& cache, Index sequence, Index tokens, const AppendOptions& options = {}) {
  Rows rows(tokens);
  cache.append(sequence, rows.k.view(), rows.v.view(), plain, options);
}

#define CHECK_SAYS(expression, sentence) CHECK_THROWS_WITH(expression, ContainsSubstring(sentence))

TEST_CASE("cache: shapes that make none") {
  const auto make = [](const CacheShape& shape) { static_cast<void>(Raw::contiguous(shape)); };
  const auto with = [](Index CacheShape::* member, Index value) {
    CacheShape shape = small;
    shape.*member = value;
    return shape;
  };
  CHECK_SAYS(make(with(&CacheShape::sequences, 0)),
             "sequences must be positive and at most 2^40, got 0.");
  CHECK_SAYS(make(with(&CacheShape::kv_heads, -2)),
             "kv_heads must be positive and at most 2^40, got -2.");
  CHECK_SAYS(make(with(&CacheShape::head_dim, 0)),
             "head_dim must be positive and at most 2^40, got 0.");
  CHECK_SAYS(make(with(&CacheShape::value_dim, -1)),
             "value_dim must be positive and at most 2^40, got -1.");
  CHECK_SAYS(make(with(&CacheShape::capacity, 0)),
             "capacity must be positive and at most 2^40, got 0.");
  CHECK_SAYS(make(with(&CacheShape::capacity, (Index{1} << 40) + 1)), "got 1099511627777.");
  CHECK_SAYS(make({.sequences = Index{1} << 30, .head_dim = 64, .capacity = Index{1} << 30}),
             "the cache does not fit in memory.");
  CacheShape axes = small;
  axes.axes = 0;
  CHECK_SAYS(make(axes), "positions have 1 to 4 coordinates, got 0.");
  axes.axes = 5;
  CHECK_SAYS(make(axes), "positions have 1 to 4 coordinates, got 5.");
  axes.axes = 3;
  CHECK_SAYS(static_cast<void>(Raw::streaming(axes)),
             "positions of a streaming cache are places in it and have one coordinate, got 3.");
  CHECK_SAYS(
      static_cast<void>(Raw::ring(small, 6)),
      "a ring keeps its sinks and at least one token more, got 6 sinks for a capacity of 6.");
  CHECK_SAYS(static_cast<void>(Raw::ring(small, -1)), "got -1 sinks");
  CHECK_SAYS(static_cast<void>(Raw::streaming(small, 7)), "got 7 sinks for a capacity of 6.");
  // All that is wrong at once.
  try {
    make({.sequences = 0, .kv_heads = 0, .head_dim = 0});
    FAIL_CHECK("not refused");
  } catch (const Error& error) {
    CHECK(error.problems().size() == 5);  // values are as wide as keys
  }
}

TEST_CASE("cache: pools and page tables") {
  std::vector<float> memory(64);
  const auto make = [](const PagePool<float>& pool) { static_cast<void>(Raw::paged(small, pool)); };
  CHECK_SAYS(make({memory.data(), memory.data(), 0, 4}),
             "a pool needs pages of at least one token, got 0 pages of 4 tokens.");
  CHECK_SAYS(make({memory.data(), memory.data(), 2, 0}), "got 2 pages of 0 tokens.");
  CHECK_SAYS(make({nullptr, memory.data(), 2, 4}), "the pool's keys or values are null.");
  CHECK_SAYS(make({memory.data(), nullptr, 2, 4}), "the pool's keys or values are null.");

  std::vector<float> keys(5 * 4 * width), values(5 * 4 * width);
  Raw cache = Raw::paged(small, {keys.data(), values.data(), 5, 4});
  const auto set = [&](Index sequence, const std::vector<Index>& pages) {
    cache.set_pages(sequence, pages);
  };
  CHECK_SAYS(set(2, {}), "there are sequences 0 to 1, got 2.");
  CHECK_SAYS(set(0, {0, 1, 2}), "a capacity of 6 tokens takes 2 pages of 4, got 3.");
  CHECK_SAYS(set(0, {0, 5}), "the pool has pages 0 to 4, got 5.");
  CHECK_SAYS(set(0, {-1}), "the pool has pages 0 to 4, got -1.");
  CHECK_SAYS(set(0, {3, 3}), "page 3 stands twice in the table.");
  CHECK_SAYS(add(cache, 0, 1),
             "sequence 0 has pages for 0 tokens, so 0 and 1 more do not fit: give it more with "
             "set_pages().");
  set(0, {3});
  add(cache, 0, 4);
  CHECK_SAYS(add(cache, 0, 1), "sequence 0 has pages for 4 tokens, so 4 and 1 more do not fit");
  CHECK_SAYS(
      set(0, {}),
      "sequence 0 holds 4 tokens, so its first 1 pages must stay: truncate or clear it first.");
  CHECK_SAYS(set(0, {1, 3}), "its first 1 pages must stay");
  set(0, {3, 0});
  set(1, {3, 1});
  cache.fork(0, 1, 2);
  CHECK_SAYS(add(cache, 1, 1),
             "page 3 of sequence 1 is shared by 2 sequences and may only be read: fork into pages "
             "of its own first.");
  CHECK_SAYS(cache.evict(1, 0, 1), "page 3 of sequence 1 is shared by 2 sequences");
  CHECK_SAYS(cache.evict(0, 0, 1), "page 3 of sequence 0 is shared by 2 sequences");
  CHECK_NOTHROW(cache.evict(0, 3, 4));  // nothing has to move
  CHECK(cache.tokens(0) == 3);
  CHECK(cache.tokens(1) == 2);
  cache.clear(1);
  set(1, {});
  CHECK_SAYS(cache.fork(0, 1),
             "sequence 1 has pages for 0 tokens, but 3 are to be forked into it: give it more with "
             "set_pages().");
  add(cache, 0, 1);  // nobody else's now
  CHECK_SAYS(Raw::contiguous(small).set_pages(0, {}), "only a paged cache has page tables.");

  // The first page of one sequence is the second of another: neither may write it.
  set(1, {4, 2});
  add(cache, 1, 1);
  cache.truncate(0, 0);
  set(0, {2});
  CHECK_SAYS(cache.fork(1, 0), "page 2 of sequence 0 is shared by 2 sequences");
  CHECK_SAYS(add(cache, 0, 1), "page 2 of sequence 0 is shared by 2 sequences");
  CHECK_SAYS(add(cache, 1, 4), "page 2 of sequence 1 is shared by 2 sequences");
  CHECK(cache.tokens(1) == 1);
}

TEST_CASE("cache: there is no such sequence or token") {
  Raw cache = Raw::contiguous(small);
  add(cache, 1, 2);
  for (const Index s : {-1, 2}) {
    const std::string sentence = "there are sequences 0 to 1, got " + std::to_string(s) + ".";
    CHECK_SAYS(static_cast<void>(cache.tokens(s)), "posenc::KeyValueCache::tokens: " + sentence);
    CHECK_SAYS(static_cast<void>(cache.next_index(s)), sentence);
    CHECK_SAYS(static_cast<void>(cache.next_position(s)), sentence);
    CHECK_SAYS(static_cast<void>(cache.index(s, 0)), sentence);
    CHECK_SAYS(cache.truncate(s, 0), sentence);
    CHECK_SAYS(cache.evict(s, 0, 0), sentence);
    CHECK_SAYS(cache.keep_path(s, 0, {}), sentence);
    CHECK_SAYS(cache.clear(s), sentence);
    CHECK_SAYS(cache.fork(s, 0, 0), sentence);
    CHECK_SAYS(cache.fork(0, s, 0), sentence);
    CHECK_SAYS(shift(cache, s, 0, 0, 1), sentence);
    CHECK_SAYS(add(cache, s, 1), sentence);
  }
  CHECK_SAYS(static_cast<void>(cache.index(1, 2)),
             "sequence 1 holds 2 tokens, so there is none of rank 2.");
  CHECK_SAYS(static_cast<void>(cache.position(1, -1)), "so there is none of rank -1.");
  CHECK_SAYS(static_cast<void>(cache.key(0, 0, 0)),
             "sequence 0 holds 0 tokens, so there is none of rank 0.");
  CHECK_SAYS(static_cast<void>(cache.value(1, 9, 0)), "rank 9.");
  CHECK_SAYS(static_cast<void>(cache.key(1, 0, 1)), "there are key heads 0 to 0, got 1.");
  CHECK_SAYS(static_cast<void>(cache.value(1, 0, -1)), "there are key heads 0 to 0, got -1.");
  CHECK_SAYS(static_cast<void>(cache.position(1, 0, 1)),
             "positions have coordinates 0 to 0, got 1.");
}

TEST_CASE("cache: what cannot be appended") {
  Raw cache = Raw::contiguous(small);
  const auto refuse = [&](const Rows& rows, const std::string& sentence) {
    CHECK_SAYS(cache.append(0, TensorView<const float>(rows.k), TensorView<const float>(rows.v),
                            plain),
               sentence);
    CHECK(cache.tokens(0) == 0);
    CHECK(cache.next_position(0) == 0);
  };
  refuse(Rows(2, 2), "k is [2, 2, 8] but the cache has 1 heads of 8 channels.");
  refuse(Rows(2, 1, 7), "k is [2, 1, 7] but the cache has 1 heads of 8 channels.");
  refuse(Rows(2, 1, 8, 9), "v is [2, 1, 9] but the cache has 1 heads of 8 channels.");
  refuse(Rows(7), "sequence 0 holds 0 of at most 6 tokens, so 7 more do not fit.");
  Rows two(2), three(3);
  CHECK_SAYS(cache.append(0, two.k.view(), three.v.view()),
             "k is [2, 1, 8] and v is [3, 1, 8]: they must have the same tokens.");
  CHECK_SAYS(cache.append(0, TensorView<const float>(nullptr, 2, 1, width),
                          TensorView<const float>(two.v)),
             "its data pointer is null.");
  const std::vector<Position> one{5}, six{0, 1, 2, 3, 4, 5}, far{0, greatest_position + 1};
  const std::vector<double> real{0, 0.5};
  CHECK_SAYS(add(cache, 0, 2, {Positions(one)}), "tokens: got 1 position ids for 2 tokens.");
  CHECK_SAYS(add(cache, 0, 2, {Positions(far)}),
             "tokens: positions must lie within +-2^52, got 4503599627370497.");
  CHECK_SAYS(add(cache, 0, 2, {Positions(greatest_position)}),
             "tokens: positions must lie within +-2^52");
  CHECK_SAYS(add(cache, 0, 2, {Positions(real)}),
             "tokens: a cache takes whole positions, got real ones.");
  CHECK_SAYS(add(cache, 0, 2, {Positions(six, 3)}),
             "tokens: got positions of 3 coordinates, but the cache keeps 1.");
  CHECK(cache.tokens(0) == 0);

  Raw streaming = Raw::streaming(small, 2);
  CHECK_SAYS(add(streaming, 0, 1, {Positions(3)}),
             "positions of a streaming cache are places in it and cannot be given.");
  CHECK_SAYS(shift(streaming, 0, 0, 0, 1),
             "positions of a streaming cache are places in it and cannot be changed.");

  // The last position there is can be taken, and then there is none for the next.
  const std::vector<Position> last{greatest_position};
  add(cache, 0, 1, {Positions(last)});
  CHECK_SAYS(add(cache, 0, 1), "tokens: positions must lie within +-2^52");
  CHECK_NOTHROW(add(cache, 0, 0, {Positions(0)}));
  CHECK_NOTHROW(add(cache, 0, 1, {Positions(0)}));
}

TEST_CASE("cache: encodings that do not fit") {
  Raw cache =
      Raw::contiguous({.kv_heads = 2, .head_dim = width, .value_dim = 5, .capacity = 6, .axes = 3});
  Rows rows(1, 2, 8, 5);
  const auto with = [&](const auto& bound) {
    cache.append(0, rows.k.view(), rows.v.view(), bound);
  };
  const RoPE<HalfSplit> rope{.head_dim = width};
  const MRoPE three{.sections = {2, 1, 1}};
  CHECK_NOTHROW(with(bind(rope | three, {.num_heads = 2})));
  CHECK_SAYS(with(bind(rope | three, {.num_heads = 3})),
             "the cache has 2 key heads but the encoding is bound to 3.");
  CHECK_SAYS(
      with(bind(RoPE<HalfSplit>{.head_dim = 16} | MRoPE{.sections = {4, 2, 2}}, {.num_heads = 2})),
      "the cache has keys of 8 channels but the encoding is bound to heads of 16.");
  CHECK_SAYS(with(bind(rope | MRoPE{.sections = {2, 2}}, {.num_heads = 2})),
             "the cache keeps positions of 3 coordinates, but the encoding turns by 2.");
  CHECK_SAYS(with(bind(rope | three | RotateValues{}, {.num_heads = 2})),
             "RotateValues rotates channels up to 8 but the cache has values of 5.");
  CHECK(cache.tokens(0) == 1);
}

TEST_CASE("cache: truncate, evict and fork beyond what there is") {
  Raw ring = Raw::ring(small, 2);
  for (int i = 0; i < 10; ++i) add(ring, 0, 1);  // 0 1 | 6 7 8 9
  CHECK_SAYS(ring.truncate(0, 11), "sequence 0 has tokens up to index 10, so it cannot end at 11.");
  CHECK_SAYS(ring.truncate(0, -1), "so it cannot end at -1.");
  CHECK_SAYS(ring.truncate(0, 9),
             "a ring of 2 sinks and 4 more that ends at 9 holds the tokens from 5 on, but those "
             "before 6 are overwritten.");
  CHECK_SAYS(ring.evict(0, 3, 2),
             "sequence 0 has tokens up to index 10, so [3, 2) is no range of them.");
  CHECK_SAYS(ring.evict(0, -1, 2), "so [-1, 2) is no range of them.");
  CHECK_SAYS(ring.evict(0, 9, 11), "so [9, 11) is no range of them.");
  CHECK_SAYS(ring.fork(0, 0), "a sequence cannot be forked into itself, got 0 twice.");
  CHECK_SAYS(ring.fork(0, 1, 11),
             "sequence 0 has tokens up to index 10, so it cannot be forked at 11.");
  CHECK_SAYS(ring.fork(0, 1, 8), "a ring can be forked only as a whole, at 10, not at 8.");
  CHECK(ring.tokens(0) == 6);
  CHECK(ring.index(0, 2) == 6);
  CHECK_NOTHROW(ring.truncate(0, 2));
  CHECK(ring.tokens(0) == 2);
}

TEST_CASE("cache: paths that a draft does not have") {
  using Path = std::vector<Position>;
  Raw cache = Raw::contiguous(small);
  add(cache, 0, 6);
  const auto refuse = [&](Position first, const Path& path, const std::string& sentence) {
    CHECK_SAYS(cache.keep_path(0, first, path), sentence);
    CHECK(cache.tokens(0) == 6);
  };
  refuse(7, {},
         "posenc::KeyValueCache::keep_path: sequence 0 has tokens up to index 6, so no draft of it "
         "begins at 7.");
  refuse(-1, {}, "so no draft of it begins at -1.");
  refuse(2, {3, 6},
         "the draft of sequence 0 has the indices [2, 6), so its path cannot go through 6.");
  refuse(2, {1, 3}, "so its path cannot go through 1.");
  refuse(2, {4, 3}, "the indices of a path must rise, got 3 after 4.");
  refuse(2, {2, 4, 4}, "the indices of a path must rise, got 4 after 4.");
  refuse(6, {6}, "has the indices [6, 6), so its path cannot go through 6.");
  CHECK_SAYS(cache.keep_path(2, 0, Path{}), "there are sequences 0 to 1, got 2.");
  CHECK_NOTHROW(cache.keep_path(0, 6, Path{}));
  CHECK_NOTHROW(cache.keep_path(0, 2, Path{2, 3, 4, 5}));
  CHECK(cache.tokens(0) == 6);
  CHECK_NOTHROW(cache.keep_path(0, 2, Path{}));
  CHECK(cache.next_index(0) == 2);

  Raw ring = Raw::ring(small, 2);
  for (int i = 0; i < 10; ++i) add(ring, 0, 1);  // 0 1 | 6 7 8 9
  CHECK_SAYS(ring.keep_path(0, 4, Path{5, 7}),
             "sequence 0 is a ring of 6 tokens that has overwritten token 5 of the path: make it "
             "longer by the tokens of a draft.");
  CHECK_NOTHROW(ring.keep_path(0, 4, Path{7, 9}));  // 0 1 and, behind 2 and 3 that are lost, 4 5
  CHECK(ring.tokens(0) == 4);
  CHECK((ring.index(0, 1) == 1 && ring.index(0, 2) == 4 && ring.next_index(0) == 6));
  CHECK((ring.position(0, 3) == 9 && ring.next_position(0) == 10));

  // A page that others read too is cut, and not moved in.
  std::vector<float> keys(3 * 4 * width), values(3 * 4 * width);
  Raw paged = Raw::paged(small, {keys.data(), values.data(), 3, 4});
  paged.set_pages(0, std::vector<Index>{0, 1});
  add(paged, 0, 5);
  paged.set_pages(1, std::vector<Index>{0, 2});
  paged.fork(0, 1);
  CHECK_SAYS(paged.keep_path(1, 1, Path{1, 3}), "page 0 of sequence 1 is shared by 2 sequences");
  CHECK_NOTHROW(paged.keep_path(1, 1, Path{1, 2}));
  CHECK(paged.tokens(1) == 3);
  CHECK_NOTHROW(paged.keep_path(0, 4, Path{4}));
}

TEST_CASE("shift and rebase: what they refuse") {
  Rotated cache = Rotated::contiguous(small);
  add(cache, 0, 4);
  CHECK_SAYS(shift(cache, 0, 2, 1, 1, plain),
             "sequence 0 has tokens up to index 4, so [2, 1) is no range of them.");
  CHECK_SAYS(shift(cache, 0, 0, 5, 1, plain), "so [0, 5) is no range of them.");
  CHECK_SAYS(shift(cache, 0, 0, 4, greatest_position, plain),
             "positions must lie within +-2^52, but 1 would be shifted by 4503599627370496.");
  CHECK_SAYS(shift(cache, 0, 0, 4, 3 * greatest_position, plain),
             "positions must lie within +-2^52, so they cannot be shifted by 13510798882111488.");
  CHECK_SAYS(shift(cache, 0, 0, 4, std::numeric_limits<Position>::min(), plain),
             "cannot be shifted by");
  const RoPE<HalfSplit> rope{.head_dim = width};
  const auto other = bind(rope | ABF{.beta = 3});
  CHECK_SAYS(shift(cache, 0, 0, 4, 1, other),
             "the keys of sequence 0 were rotated by another encoding (other frequencies, layout "
             "or channels): rebase() them to this one, or clear the sequence.");
  CHECK_SAYS(rebase(cache, 0, other, plain),
             "the keys of sequence 0 were rotated by another encoding");
  const auto some = bind(RoPE<HalfSplit>{.head_dim = width, .rotary_dim = 6, .rotary_offset = 1});
  CHECK_SAYS(rebase(cache, 0, plain, some),
             "both encodings must rotate the same channels by the same coordinates, but one "
             "rotates 8 from channel 0 and the other 6 from 1.");
  CHECK_SAYS(rebase(cache, 0, plain, bind(rope | XPos{})),
             "rebase changes angles, but the two encodings have other magnitudes (XPos).");
  const auto peer = bind(rope, {.angles = Angles::huggingface});
  CHECK_SAYS(rebase(cache, 0, plain, peer), "only exact angles add up (Angles::exact)");
  Rows rows(2);
  cache.append(1, rows.k.view(), rows.v.view(), peer);
  CHECK_SAYS(shift(cache, 1, 0, 2, 1, peer),
             "only exact angles add up (Angles::exact): those of a peer round differently at every "
             "position, so keys have to be rotated anew.");
  for (Index t = 0; t < 4; ++t) CHECK(cache.position(0, t) == t);

  std::vector<float> keys(2 * 4 * width), values(2 * 4 * width);
  Rotated paged = Rotated::paged(small, {keys.data(), values.data(), 2, 4});
  paged.set_pages(0, std::vector<Index>{1});
  paged.set_pages(1, std::vector<Index>{1});
  paged.clear(1);
  CHECK_SAYS(add(paged, 0, 1), "page 1 of sequence 0 is shared by 2 sequences");
  paged.set_pages(1, {});
  add(paged, 0, 3);
  paged.set_pages(1, std::vector<Index>{1, 0});
  paged.fork(0, 1);
  CHECK_SAYS(shift(paged, 1, 1, 2, 5, plain),
             "page 1 of sequence 1 is shared by 2 sequences and may only be read");
  CHECK_SAYS(rebase(paged, 0, plain, other),
             "page 1 of sequence 0 is shared by 2 sequences and may only be read");
  CHECK_NOTHROW(shift(paged, 1, 2, 2, 5, plain));
  CHECK(paged.position(1, 2) == 2);
}

TEST_CASE("cache: reduced keys remember the chunk") {
  using Reduced = KeyValueCache<KeyState::reduced, float>;
  const RoPE<HalfSplit> rope{.head_dim = width};
  const auto five = bind(rope | DualChunk{.chunk = 5, .cap = 7}),
             six = bind(rope | DualChunk{.chunk = 6, .cap = 7});
  Reduced cache = Reduced::contiguous(small);
  Rows rows(3);
  cache.append(0, rows.k.view(), rows.v.view(), five);
  CHECK_SAYS(cache.append(0, rows.k.view(), rows.v.view(), six),
             "the keys of sequence 0 were rotated by another encoding");
  CHECK(cache.tokens(0) == 3);
}

TEST_CASE("cache: turned values are refused to an encoding that does not turn them back") {
  const auto turned = bind(RoPE<HalfSplit>{.head_dim = width} | RotateValues{} | Causal{});
  Rotated cache = Rotated::contiguous(small);
  Rows rows(3), out(1);
  const std::vector<Index> first{0};
  const auto decode_by = [&](const auto& bound) {
    decode(TensorView<const float>(rows.k).slice(2, 1), cache, out.v.view(), bound,
           {.sequences = first});
  };
  cache.append(0, rows.k.view(), rows.v.view(), turned);
  CHECK_NOTHROW(decode_by(turned));
  CHECK_SAYS(decode_by(plain), "the keys of sequence 0 were rotated by another encoding");
  CHECK_SAYS(shift(cache, 0, 0, 3, 1, plain), "were rotated by another encoding");
  cache.clear(0);
  cache.append(0, rows.k.view(), rows.v.view(), plain);
  CHECK_SAYS(decode_by(turned), "the keys of sequence 0 were rotated by another encoding");
}

TEST_CASE("cache: rows in its own element are kept to the bit") {
  const auto check = [&]<class T>(T) {
    using U = arithmetic_t<T>;
    std::vector<T> k, v;
    for (int i = 0; i < 3 * width; ++i) {
      k.push_back(narrow<T>(static_cast<U>(i) / U{7}));
      v.push_back(narrow<T>(-static_cast<U>(i) / U{3}));
    }
    auto cache = KeyValueCache<KeyState::raw, T>::contiguous(small);
    cache.append(0, TensorView<const T>(k.data(), 3, 1, width),
                 TensorView<const T>(v.data(), 3, 1, width), plain);
    cache.append(1, TensorView<T>(k.data(), 3, 1, width), TensorView<T>(v.data(), 3, 1, width));
    cache.append(1, TensorView<const T>(k.data(), 3, 1, width),
                 TensorView<const T>(v.data(), 3, 1, width));
    for (const Index s : {0, 1})
      for (Index t = 0; t < 3; ++t) {
        CHECK(std::memcmp(cache.key(s, t, 0).data(), k.data() + t * width, width * sizeof(T)) == 0);
        CHECK(std::memcmp(cache.value(s, t, 0).data(), v.data() + t * width, width * sizeof(T)) ==
              0);
      }
    // Rotated from its own element too.
    auto rotated = KeyValueCache<KeyState::rotated, T>::contiguous(small);
    rotated.append(0, TensorView<const T>(k.data(), 3, 1, width),
                   TensorView<const T>(v.data(), 3, 1, width), plain);
    const double x = static_cast<double>(widen(k[2 * width])),
                 y = static_cast<double>(widen(k[2 * width + width / 2]));
    CHECK(std::abs(static_cast<double>(widen(rotated.key(0, 2, 0)[0])) -
                   (x * std::cos(2.0) - y * std::sin(2.0))) <=
          std::hypot(x, y) * (sizeof(T) == 2 ? 0x1p-8 : 1e-6));
  };
  check(0.0F);
  check(0.0);
  check(Eigen::bfloat16{});
  check(Eigen::half{});
}

}  // namespace misuse_cases
}  // namespace cache_test
