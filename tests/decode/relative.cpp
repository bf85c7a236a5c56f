// SPDX-License-Identifier: MIT
//
// Vectors by distance in decode: rows are those of attention() over the whole, alone and with
// everything else that an encoding may have, for every kind of cache, at every level.
#include "../support/bind_any.hpp"
#include "calls.hpp"

#include "../relative/formula.hpp"
#include "../relative/pairs_of_distances.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/eigen.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/relative/deberta.hpp>
#include <posenc/relative/shaw.hpp>
#include <posenc/relative/transformer_xl.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/score/log_n.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>

namespace decode_test {
namespace relative_cases {

using attention_test::Backwards;
using attention_test::Workspace;
using relative_test::at_every_level;
using relative_test::noise;
using relative_test::sentences_thrown;

constexpr Index heads = 6, kv_heads = 2, width = 20, value_dim = 21;
constexpr BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};

ShawKeys shaw_keys(Position clip) { return {noise((2 * clip + 1) * width, 1), clip}; }
ShawValues shaw_values(Position clip) { return {noise((2 * clip + 1) * value_dim, 2), clip}; }
DeBERTa deberta() {
  return {noise(2 * 24 * heads * width, 3), noise(2 * 24 * heads * width, 4), 24, 50};
}
/// Distances 0 to `last`.
TransformerXL xl(Position last) {
  return {.head_dim = width,
          .rows = noise((last + 1) * heads * width, 5, 0.5),
          .u = noise(heads * width, 6),
          .v = noise(heads * width, 7)};
}
/// Distances of both signs, any at all.
TransformerXL clamped_xl(Position clamp) {
  TransformerXL any = xl(2 * clamp);
  any.first_distance = -clamp;
  any.clamp_len = clamp;
  return any;
}

using PairsOfDistances = relative_test::PairsOfDistances<heads, width, value_dim>;

/// The error of a call to decode, in scratch memory of exactly the right size, full of NaN.
template <KeyState State, class T, class BoundT>
double off(const Arguments<arithmetic_t<T>>& call, KeyValueCache<State, T>& cache,
           const BoundT& bound, DecodeOptions<arithmetic_t<T>> with = {}) {
  const Workspace workspace(
      decode_workspace(bound, cache, std::max<Index>(1, call.q.tokens), with.executor));
  with.workspace = workspace.memory();
  const auto result = decoded(call.q, cache, bound, with);
  if (!workspace.guards_are_whole()) FAIL_CHECK("wrote beyond the workspace");
  return ratio(result, call, bound);
}

template <KeyState State, class T, class E>
void check(const char* name, const E& encoding) {
  INFO(name);
  const auto bound = posenc_test::bind_any(encoding, options);
  for (const auto& [tokens, queries] :
       {std::pair<Index, Index>{1, 1}, {30, 9}, {700, 3}, {1100, 1}})
    for (const Kind kind : {Kind::contiguous, Kind::paged}) {
      if (tokens == 30 && kind == Kind::contiguous) continue;
      CAPTURE(tokens, queries, static_cast<int>(kind));
      const Sequence<T> sequence(tokens, heads, kv_heads, width, value_dim);
      Holder<State, T> cache(kind, shape_for(sequence));
      append(*cache, 0, sequence, 0, tokens, bound);
      CHECK(off(sequence.last(queries), *cache, bound) <= 1);
    }
}

template <class T>
void check_encodings() {
  const RoPE<HalfSplit> rope{.head_dim = width};
  constexpr KeyState raw = KeyState::raw;
  check<raw, T>("Shaw", shaw_keys(5) | shaw_values(9) | Causal{});
  check<raw, T>("TransformerXL", xl(1100) | Causal{});
  check<raw, T>("DeBERTa", encoding(deberta()));
  check<raw, T>("one of the user's", encoding(PairsOfDistances(300)));
  check<raw, T>("rotated values",
                rope | RotateValues{} | shaw_values(4) | clamped_xl(50) | Causal{});
  check<raw, T>("a distance map", rope | YaRN{.factor = 4, .original_context = 64} |
                                      ReRoPE{.window = 30} | xl(1100) | deberta() | SinkLogit{} |
                                      Causal{});
  check<raw, T>("all", ALiBi{} | shaw_keys(3) | SlidingWindow{.left = 550, .right = 3} |
                           clamped_xl(20) | SoftCap{4} | shaw_values(7) | deberta() |
                           shaw_keys(40) | rope | LogN{.base_length = 64} | shaw_values(0) |
                           PairsOfDistances(9));
}

TEST_CASE("decode: vectors by distance") {
  at_every_level([] { check_encodings<float>(); });
}
TEST_CASE("decode: vectors by distance, double") { check_encodings<double>(); }
TEST_CASE("decode: vectors by distance, bfloat16") { check_encodings<Eigen::bfloat16>(); }

TEST_CASE("decode: vectors by distance meet queries without rotation, whatever the cache") {
  const auto encoding =
      RoPE<Interleaved>{.head_dim = width} | shaw_keys(30) | shaw_values(4) | xl(1100) | Causal{};
  check<KeyState::rotated, float>("rotated", encoding);
  check<KeyState::raw, float>("raw", encoding);
}

TEST_CASE("decode: vectors by distance, whoever runs the parts") {
  const auto bound =
      posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | shaw_keys(30) | shaw_values(600) |
                                xl(1700) | deberta() | SoftCap{20} | Causal{},
                            options);
  const Sequence<float> sequence(1700, heads, kv_heads, width, value_dim);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 1700, bound);
  const auto call = sequence.last(11);
  const auto expected = decoded(call.q, *cache, bound);
  CHECK(ratio(expected, call, bound) <= 1);
  for (const Index threads : {2, 5})
    CHECK(attention_test::differing_rows(
              decoded(call.q, *cache, bound, {.executor = Backwards{threads}}), expected) == 0);
}

TEST_CASE("decode: buckets go by position ids") {
  const auto bound =
      posenc_test::bind_any(shaw_keys(30) | PairsOfDistances(4000) | deberta(), options);
  constexpr Index tokens = 600, queries = 10;
  const Sequence<float> sequence(tokens, heads, kv_heads, width, value_dim);
  std::vector<Position> ids(size(tokens));
  Random random(5);
  // More buckets in a block than there is room for.
  for (Position& id : ids) id = random.integer(-3000, 3000);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, tokens, bound, {.positions = Positions(ids)});
  auto call = sequence.last(queries);
  call.options.key_positions = Positions(ids);
  call.options.query_positions =
      call.options.key_positions->subspan(size(tokens - queries), queries);
  CHECK(off(call, *cache, bound) <= 1);
  // Queries may stand elsewhere.
  const std::vector<Position> elsewhere{1, 2, 3, 4, 5, 6, 7, 8, 90, -1000};
  call.options.query_positions = Positions(elsewhere);
  CHECK(off(call, *cache, bound, {.query_positions = Positions(elsewhere)}) <= 1);
}

TEST_CASE("decode: vectors by distance in rings and streaming caches") {
  const auto bound =
      posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | shaw_keys(30) | shaw_values(100) |
                                xl(650) | deberta() | SinkWindow{.sinks = 4, .window = 590},
                            options);
  const Sequence<float> sequence(650, heads, kv_heads, width, value_dim);
  CacheShape shape = shape_for(sequence);
  shape.capacity = 600;
  auto ring = KeyValueCache<KeyState::raw, float>::ring(shape, 4);
  auto streaming = KeyValueCache<KeyState::raw, float>::streaming(shape, 4);
  for (Index t = 0; t < 650; ++t) {
    append(ring, 0, sequence, t, t + 1, bound);
    append(streaming, 0, sequence, t, t + 1, bound);
  }
  CHECK(off(sequence.last(5), ring, bound) <= 1);

  // Those that are left, one after another.
  const auto places = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | shaw_keys(30) |
                                                shaw_values(100) | xl(599) | deberta() | Causal{},
                                            options);
  Sequence<float> left(600, heads, kv_heads, width, value_dim);
  for (Index t = 0; t < 600; ++t) {
    const Index from = t < 4 ? t : t + 50;
    for (Index h = 0; h < kv_heads; ++h) {
      std::copy_n(sequence.k.view().row(from, h), width, left.k.view().row(t, h));
      std::copy_n(sequence.v.view().row(from, h), value_dim, left.v.view().row(t, h));
    }
    for (Index h = 0; h < heads; ++h)
      std::copy_n(sequence.q.view().row(from, h), width, left.q.view().row(t, h));
  }
  CHECK(off(left.last(5), streaming, places) <= 1);
}

TEST_CASE("decode: weights of zero meet no vector and no value") {
  // Keys that the mask hides hold NaN, which shows as soon as anything of them is used.
  const auto bound = posenc_test::bind_any(
      shaw_keys(3) | shaw_values(9) | deberta() | SlidingWindow{.left = 20, .right = 0}, options);
  const Sequence<float> clean(700, heads, kv_heads, width, value_dim);
  Sequence<float> sequence(700, heads, kv_heads, width, value_dim);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (Index t = 0; t < 700 - 2 - 20; ++t)
    for (Index h = 0; h < kv_heads; ++h) {
      std::fill_n(sequence.k.view().row(t, h), width, nan);
      std::fill_n(sequence.v.view().row(t, h), value_dim, nan);
    }
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 700, bound);
  CHECK(off(clean.last(2), *cache, bound) <= 1);

  // A bucket that nobody sees has no effect either, a vector of the user's that is infinite.
  struct Farthest {
    std::vector<float> table = [] {
      std::vector<float> two(size(2 * value_dim), 0.5F);
      std::fill_n(two.begin(), value_dim, HUGE_VALF);
      return two;
    }();
    [[nodiscard]] Index bucket(Position distance) const { return distance > 20 ? 0 : 1; }
    [[nodiscard]] RelativeTable relative_values() const {
      return {.data = table.data(), .buckets = 2, .width = value_dim, .bucket_stride = value_dim};
    }
  };
  const auto call = clean.last(2);
  const auto with =
      decoded(call.q, *cache,
              posenc_test::bind_any(Farthest{} | SlidingWindow{.left = 20, .right = 0}, options));
  const auto without =
      decoded(call.q, *cache,
              posenc_test::bind_any(encoding(SlidingWindow{.left = 20, .right = 0}), options));
  for (Index i = 0; i < 2; ++i)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < value_dim; ++c)
        CHECK(std::abs(with.out.view()(i, h, c) - without.out.view()(i, h, c) - 0.5F) <= 1e-6F);
}

TEST_CASE("decode: distances without a vector are refused") {
  const Sequence<float> sequence(100, heads, kv_heads, width, value_dim);
  const auto wide = posenc_test::bind_any(xl(99) | Causal{}, options);
  Holder<KeyState::raw, float> cache(Kind::paged, shape_for(sequence));
  append(*cache, 0, sequence, 0, 100, wide);
  const auto thrown = [&](const auto& encoding, Index queries) {
    const auto bound = posenc_test::bind_any(encoding, options);
    return sentences_thrown([&] { (void)decoded(sequence.last(queries).q, *cache, bound); });
  };
  CHECK(thrown(xl(99) | Causal{}, 3) == "nothing thrown");
  CHECK(
      thrown(xl(98) | Causal{}, 1) ==
      "the query at position 99 sees the key at position 0, at a distance of 99, but the encoding "
      "has vectors for distances 0 to 98: hide the key with a mask, or give more of them.\n");
  CHECK(thrown(xl(98) | SlidingWindow{.left = 98, .right = 0}, 3) == "nothing thrown");
  CHECK(
      thrown(encoding(xl(99)), 2) ==
      "the query at position 98 sees the key at position 99, at a distance of -1, but the encoding "
      "has vectors for distances 0 to 99: hide the key with a mask, or give more of them.\n");
  CHECK(thrown(ShawKeys{noise(3 * 8, 1), 1} | Causal{}, 1) ==
        "the encoding has relative keys of 8 channels, but queries have 20.\n");
}

TEST_CASE("decode: no room for vectors by distance where nobody has them") {
  const Sequence<float> sequence(100, heads, kv_heads, width, value_dim);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  const auto bytes = [&](const auto& encoding) {
    return decode_workspace(posenc_test::bind_any(encoding, options), *cache);
  };
  const std::size_t plain = bytes(encoding(Causal{}));
  CHECK(bytes(ALiBi{} | Causal{}) == plain);
  CHECK(bytes(xl(10) | Causal{}) > plain);
  CHECK(bytes(xl(10) | Causal{}) == bytes(xl(1000) | Causal{}));
  CHECK(bytes(shaw_values(10) | Causal{}) < bytes(shaw_values(1000) | Causal{}));
}

}  // namespace relative_cases
}  // namespace decode_test
