// SPDX-License-Identifier: MIT
//
// shift and rebase: keys end as if they had been appended at their new places, or under the other
// encoding, however often they moved.
#include "../decode/calls.hpp"
#include "../support/bind_any.hpp"

#include <posenc/cache/rerotate.hpp>
#include <posenc/eigen.hpp>
#include <posenc/executor/executor.hpp>
#include <posenc/frequency/abf.hpp>
#include <posenc/frequency/long_rope.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/rotary/xpos.hpp>

namespace cache_test {
namespace moving_cases {

using namespace decode_test;

constexpr Index heads = 4, kv_heads = 2, width = 24, tokens = 21;
constexpr BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};

template <class T>
KeyValueCache<KeyState::rotated, T> cache_for(const Sequence<T>& sequence, int axes = 1) {
  CacheShape s = shape_for(sequence, 2);
  s.axes = axes;
  return KeyValueCache<KeyState::rotated, T>::contiguous(s);
}

/// Greatest difference of keys and values of two sequences, relative to the greatest element of a
/// row.
template <class T>
double difference(const KeyValueCache<KeyState::rotated, T>& cache, Index a, Index b) {
  double worst = cache.tokens(a) == cache.tokens(b) ? 0 : HUGE_VAL;
  const auto compare = [&](std::span<const T> x, std::span<const T> y) {
    double most = 0;
    for (const T& e : y) most = std::max(most, std::abs(static_cast<double>(widen(e))));
    for (std::size_t c = 0; c < x.size(); ++c) {
      const double d =
          std::abs(static_cast<double>(widen(x[c])) - static_cast<double>(widen(y[c]))) / most;
      worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
    }
  };
  for (Index rank = 0; rank < cache.tokens(a); ++rank)
    for (Index h = 0; h < kv_heads; ++h) {
      compare(cache.key(a, rank, h), cache.key(b, rank, h));
      compare(cache.value(a, rank, h), cache.value(b, rank, h));
    }
  return worst;
}

/// `places` are [axes][tokens].
template <class T, class BoundT>
void check_shifts(const char* name, const BoundT& bound, std::vector<Position> places,
                  int axes = 1) {
  INFO(name);
  const Sequence<T> sequence(tokens, heads, kv_heads, width, width);
  // Two roundings of an element, and three rotations' errors.
  const double element = element_format<T> == ElementFormat::bfloat16  ? 0x1p-8
                         : element_format<T> == ElementFormat::float16 ? 0x1p-11
                                                                       : 0;
  const double allowed = 4 * element + (sizeof(T) == 8 ? 1e-12 : 2e-6);
  for (const auto& [a, b] : std::vector<std::pair<Position, Position>>{
           {1, 0}, {5, 7}, {-3, 3}, {-12, -31}, {100'000, -99'990}, {0, 0}}) {
    INFO("by " << a << " and " << b);
    auto cache = cache_for<T>(sequence, axes);
    const std::vector<Position> before = places;
    std::vector<Position> after = places;
    for (Position& p : after) p += a + b;
    append(cache, 0, sequence, 0, tokens, bound, {Positions(before, axes)});
    append(cache, 1, sequence, 0, tokens, bound, {Positions(after, axes)});
    shift(cache, 0, 0, tokens, a, bound);
    CHECK(cache.position(0, 3) == places[3] + a);
    shift(cache, 0, 0, tokens, b, bound);
    CHECK(difference(cache, 0, 1) <= allowed);

    // The same in one go, in several threads' parts, and for some of the tokens.
    cache.clear(0);
    append(cache, 0, sequence, 0, tokens, bound, {Positions(before, axes)});
    shift(cache, 0, 0, 9, a + b, bound);
    shift(cache, 0, 9, tokens, a + b, bound, Serial{});
    CHECK(difference(cache, 0, 1) <= allowed);
    for (int axis = 0; axis < axes; ++axis)
      CHECK(cache.position(0, tokens - 1, axis) == cache.position(1, tokens - 1, axis));
  }
}

std::vector<Position> in_a_row(Position from) {
  std::vector<Position> places(size(tokens));
  std::iota(places.begin(), places.end(), from);
  return places;
}

TEST_CASE("shift: once by a and once by b is once by a + b") {
  const RoPE<HalfSplit> rope{.head_dim = width};
  const auto places = in_a_row(40);
  check_shifts<float>("RoPE", posenc_test::bind_any(rope, shape), places);
  check_shifts<double>("RoPE", posenc_test::bind_any(rope, shape), places);
  check_shifts<Eigen::bfloat16>("RoPE", posenc_test::bind_any(rope, shape), places);
  check_shifts<Eigen::half>("RoPE", posenc_test::bind_any(rope, shape), places);
  const RoPE<Interleaved> some{.head_dim = width, .rotary_dim = 14, .rotary_offset = 5};
  check_shifts<float>(
      "partial, Interleaved, YaRN",
      posenc_test::bind_any(some | YaRN{.factor = 4, .original_context = 64}, shape), places);
  check_shifts<double>("RotateValues", posenc_test::bind_any(some | RotateValues{}, shape), places);
  check_shifts<float>(
      "XPos", posenc_test::bind_any(rope | XPos{.scale_base = 4'096, .centre = 50}, shape), places);
  check_shifts<double>(
      "XPos, RotateValues",
      posenc_test::bind_any(rope | XPos{.scale_base = 4'096, .centre = 50} | RotateValues{}, shape),
      places);
}

TEST_CASE("shift: all coordinates move") {
  std::vector<Position> places;
  for (int axis = 0; axis < 3; ++axis)
    for (Index t = 0; t < tokens; ++t) places.push_back(30 + (t * (axis + 2)) % 11);
  const auto bound = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} |
                                               MRoPE{.sections = {4, 4, 4}, .interleaved = true},
                                           shape);
  check_shifts<float>("MRoPE", bound, places, 3);
  check_shifts<double>("MRoPE", bound, places, 3);
}

TEST_CASE("shift: magnitudes of xPos from one end of their reach to the other") {
  const XPos x{.scale_base = 512, .centre = 100};
  const auto bound = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | x, shape);
  const auto reach = static_cast<Position>(x.reach());
  const Sequence<float> sequence(1, heads, kv_heads, width, width);
  for (const Position from : {100 - reach, 100 + reach}) {
    auto cache = cache_for<float>(sequence);
    const Position to = 200 - from;
    append(cache, 0, sequence, 0, 1, bound, {Positions(from)});
    append(cache, 1, sequence, 0, 1, bound, {Positions(to)});
    shift(cache, 0, 0, 1, to - from, bound);
    for (Index c = 0; c < width; ++c) {
      const auto pair = size(c % (width / 2)), other = pair + size(width / 2);
      const double norm = std::hypot(static_cast<double>(cache.key(1, 0, 0)[pair]),
                                     static_cast<double>(cache.key(1, 0, 0)[other]));
      CHECK(std::abs(static_cast<double>(cache.key(0, 0, 0)[size(c)] -
                                         cache.key(1, 0, 0)[size(c)])) <= 1e-4 * norm);
    }
    CHECK_THROWS_WITH(shift(cache, 0, 0, 1, from < to ? 1 : -1, bound),
                      ContainsSubstring("from the centre 100, where the magnitudes"));
    CHECK(cache.position(0, 0) == to);
  }
}

TEST_CASE("magnitudes stay what they are, however often keys move") {
  const RoPE<HalfSplit> rope{.head_dim = width};
  // An attention factor of 1.28 twice would be seen at once.
  const auto near = posenc_test::bind_any(
                 rope | YaRN{.factor = 16, .original_context = 64} | Causal{}, shape),
             far = posenc_test::bind_any(
                 rope | YaRN{.factor = 4, .original_context = 32, .attention_factor = 3} | Causal{},
                 shape);
  const Sequence<double> sequence(tokens, heads, kv_heads, width, width);
  auto cache = cache_for<double>(sequence);
  append(cache, 0, sequence, 0, tokens, near);
  for (int i = 0; i < 10; ++i) {
    shift(cache, 0, 0, tokens, 13, near);
    rebase(cache, 0, near, far);
    shift(cache, 0, 0, tokens, -9, far);
    rebase(cache, 0, far, near);
  }
  for (Index rank = 0; rank < tokens; ++rank) {
    CHECK(cache.position(0, rank) == rank + 40);
    for (Index h = 0; h < kv_heads; ++h) {
      double norm = 0, raw = 0;
      for (Index c = 0; c < width; ++c) {
        norm += cache.key(0, rank, h)[size(c)] * cache.key(0, rank, h)[size(c)];
        raw += sequence.k.view()(rank, h, c) * sequence.k.view()(rank, h, c);
      }
      CHECK(norm == Approx(raw).epsilon(1e-12));
    }
  }
  // The scores have the factor once, as in attention(): distances are what they were.
  const auto call = sequence.last(2);
  Output<double> result = decoded(call.q, cache, near, {.sequences = std::vector<Index>{0}});
  CHECK(attention_test::worst_ratio<double>(result.out, result.lse,
                                            reference_attention(call.q, call.k, call.v, near),
                                            attention_test::error_bounds(call, near)) <= 30);
}

TEST_CASE("shift of raw keys says where they stand, and changes nothing else") {
  const auto bound = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | Causal{}, shape);
  const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
  auto cache = KeyValueCache<KeyState::raw, float>::contiguous(shape_for(sequence));
  append(cache, 0, sequence, 0, tokens, bound);
  cache.evict(0, 5, 11);
  shift(cache, 0, 5, tokens - 6, -6);
  CHECK(cache.next_position(0) == tokens - 6);
  CHECK(cache.next_index(0) == tokens - 6);
  Sequence<float> rest(tokens - 6, heads, kv_heads, width, width);
  for (Index t = 0; t < tokens - 6; ++t) {
    const Index from = t < 5 ? t : t + 6;
    CHECK(cache.position(0, t) == t);
    CHECK(cache.index(0, t) == t);
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < width; ++c) {
        rest.q.view()(t, h, c) = sequence.q.view()(from, h, c);
        if (h >= kv_heads) continue;
        rest.k.view()(t, h, c) = sequence.k.view()(from, h, c);
        rest.v.view()(t, h, c) = sequence.v.view()(from, h, c);
        CHECK(cache.key(0, t, h)[size(c)] == rest.k.view()(t, h, c));
      }
  }
  const auto call = rest.last(4);
  CHECK(ratio(decoded(call.q, cache, bound), call, bound) <= 1);
}

// --- Short and long factors ----------------------------------------------------------------------

TEST_CASE("LongRoPE: the switch is a rebase, at the length where it happens") {
  constexpr Position context = 30;
  const auto factors = [](double slope) {
    std::vector<double> all;
    for (Index i = 0; i < width / 2; ++i) all.push_back(1 + slope * static_cast<double>(i));
    return all;
  };
  const auto with = [&]<class Scheme>(Scheme scheme) {
    scheme.short_factor = factors(0.03);
    scheme.long_factor = factors(0.8);
    scheme.factor = 8;
    scheme.original_context = context;
    scheme.short_mscale = 1.1;
    scheme.long_mscale = 1.3;
    return posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | scheme | Causal{}, shape);
  };
  const auto near = with(LongRoPEShort{});
  const auto far = with(LongRoPELong{});
  const auto by_length = with(LongRoPE{});
  const Sequence<float> sequence(context + 5, heads, kv_heads, width, width);
  auto rotated = cache_for<float>(sequence);
  auto raw = KeyValueCache<KeyState::raw, float>::contiguous(shape_for(sequence));
  const std::vector<Index> first{0};
  for (Index n = 1; n <= context + 5; ++n) {
    INFO("length " << n);
    const bool is_long = n > context;
    if (n == context + 1) rebase(rotated, 0, near, far);
    append(raw, 0, sequence, n - 1, n, by_length);
    const auto call = sequence.last(1, n);
    const auto check = [&](const auto& mine, const auto& other) {
      append(rotated, 0, sequence, n - 1, n, mine);
      const auto result = decoded(call.q, rotated, mine, {.sequences = first});
      CHECK(ratio(result, call, mine) <= 1.5);  // keys may have been turned twice
      CHECK(ratio(result, call, by_length) <= 1.5);
      CHECK_THROWS_AS(decoded(call.q, rotated, other, {.sequences = first}), Error);
    };
    is_long ? check(far, near) : check(near, far);
    CHECK(ratio(decoded(call.q, raw, by_length), call, by_length) <= 1);
    // The two lists differ here, or nothing was tested.
    if (n > 2)
      CHECK(ratio(decoded(call.q, raw, by_length), call,
                  is_long ? by_length.at_length(1) : by_length.at_length(999)) > 1);
  }
}

TEST_CASE("rebase there and back") {
  const RoPE<Interleaved> rope{.head_dim = width, .rotary_dim = 20, .rotary_offset = 2};
  const auto check = [&]<class T>(T, double allowed, const auto& a, const auto& b, int axes) {
    const Sequence<T> sequence(tokens, heads, kv_heads, width, width);
    auto cache = cache_for<T>(sequence, axes);
    append(cache, 0, sequence, 0, tokens, a, {Positions(100'000)});
    append(cache, 1, sequence, 0, tokens, b, {Positions(100'000)});
    rebase(cache, 0, a, b);
    CHECK(difference(cache, 0, 1) <= allowed);
    cache.clear(1);
    append(cache, 1, sequence, 0, tokens, a, {Positions(100'000)});
    CHECK(difference(cache, 0, 1) > 0.1);
    rebase(cache, 0, b, a);
    CHECK(difference(cache, 0, 1) <= allowed);
  };
  const auto a = posenc_test::bind_any(rope, shape);
  const auto b = posenc_test::bind_any(rope | ABF{.beta = 50}, shape);
  check(0.0F, 2e-6, a, b, 1);
  check(0.0, 1e-10, a, b, 1);
  check(Eigen::bfloat16{}, 4 * 0x1p-8, a, b, 1);
  check(Eigen::half{}, 4 * 0x1p-11, a, b, 1);
  check(0.0, 1e-10, posenc_test::bind_any(rope | RotateValues{}, shape),
        posenc_test::bind_any(rope | ABF{.beta = 50} | RotateValues{}, shape), 1);
  check(0.0, 1e-10, posenc_test::bind_any(rope | XPos{.scale_base = 1 << 20}, shape),
        posenc_test::bind_any(rope | XPos{.scale_base = 1 << 20} | ABF{.beta = 50}, shape), 1);
  const MRoPE axes{.sections = {4, 3, 3}};
  check(0.0, 1e-10, posenc_test::bind_any(rope | axes, shape),
        posenc_test::bind_any(rope | axes | ABF{.beta = 50}, shape), 3);
}

}  // namespace moving_cases
}  // namespace cache_test
