// SPDX-License-Identifier: MIT
//
// Schemes that follow the length, on raw caches: at each length they are the static scheme of that
// length, each sequence of a call at its own.
#include "../decode/calls.hpp"
#include "../support/bind_any.hpp"

#include <posenc/frequency/dynamic.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/ntk.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sliding_window.hpp>

namespace cache_test {
namespace by_length_cases {

using namespace decode_test;

constexpr Index heads = 4, kv_heads = 2, width = 16;
constexpr Position context = 20;
constexpr BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};
const RoPE<HalfSplit> rope{.head_dim = width};

/// `at(T)` is the encoding with the static scheme of length T.
template <class BoundT, class F>
void check_lengths(const char* name, const BoundT& dynamic, const F& at) {
  INFO(name);
  const std::vector<Index> lengths{19, 20, 21, 64, 7, 130};
  std::vector<Sequence<float>> sequences;
  CacheShape room{.sequences = std::ssize(lengths),
                  .kv_heads = kv_heads,
                  .head_dim = width,
                  .value_dim = width,
                  .capacity = 130};
  Holder<KeyState::raw, float> cache(Kind::paged, room);
  for (const Index n : lengths) {
    sequences.emplace_back(n, heads, kv_heads, width, width, static_cast<std::uint64_t>(n));
    append(*cache, std::ssize(sequences) - 1, sequences.back(), 0, n - 2, dynamic);
  }
  // Two tokens more for each, one at a time: every sequence is longer than before.
  Tensor<float> q(std::ssize(lengths), heads, width);
  for (const Index step : {2, 1}) {
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      const Index n = lengths[s] - step + 1;
      append(*cache, static_cast<Index>(s), sequences[s], n - 1, n, dynamic);
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c)
          q.view()(static_cast<Index>(s), h, c) = sequences[s].q.view()(n - 1, h, c);
    }
    const Output<float> all = decoded(q.view(), *cache, dynamic);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      const Index n = lengths[s] - step + 1;
      INFO("length " << n);
      const auto call = sequences[s].last(1, n);
      Output<float> one(call);
      for (Index h = 0; h < heads; ++h) {
        one.lse[size(h)] = all.lse[s * size(heads) + size(h)];
        for (Index c = 0; c < width; ++c)
          one.out.view()(0, h, c) = all.out.view()(static_cast<Index>(s), h, c);
      }
      CHECK(ratio(one, call, at(n)) <= 1);
      if (n > context + 1) CHECK(ratio(one, call, at(n + 20)) > 1);
    }
  }
}

double factor_at(Index length) {
  return std::max(1.0, static_cast<double>(length) / static_cast<double>(context));
}

TEST_CASE("schemes by length are the static scheme of each sequence's length") {
  check_lengths("Dynamic<PI>",
                posenc_test::bind_any(
                    rope | Dynamic<PI>{.scheme = {}, .original_context = context} | Causal{},
                    shape),
                [](Index n) {
                  return posenc_test::bind_any(rope | PI{.factor = factor_at(n)} | Causal{}, shape);
                });
  check_lengths(
      "Dynamic<YaRN>",
      posenc_test::bind_any(
          rope | Dynamic<YaRN>{.scheme = {.original_context = context}} | Causal{}, shape),
      [](Index n) {
        return posenc_test::bind_any(
            rope | YaRN{.factor = factor_at(n), .original_context = context} | Causal{}, shape);
      });
  // alpha = s of the paper: NTK by the factor of the length.
  check_lengths("DynamicNTK",
                posenc_test::bind_any(
                    rope | DynamicNTK{.original_context = context, .form = DynamicNTKForm::paper} |
                        Causal{},
                    shape),
                [](Index n) {
                  return posenc_test::bind_any(rope | NTK{.alpha = factor_at(n)} | Causal{}, shape);
                });
}

TEST_CASE("lengths are those of what is held") {
  const auto dynamic = posenc_test::bind_any(
      rope | Dynamic<PI>{.scheme = {}, .original_context = context} | Causal{}, shape);
  const auto at = [](Index n) {
    return posenc_test::bind_any(rope | PI{.factor = factor_at(n)} | Causal{}, shape);
  };
  const Sequence<float> sequence(60, heads, kv_heads, width, width);
  auto cache = KeyValueCache<KeyState::raw, float>::contiguous(shape_for(sequence));
  append(cache, 0, sequence, 0, 60, dynamic);
  CHECK(ratio(decoded(sequence.last(1).q, cache, dynamic), sequence.last(1), at(60)) <= 1);
  cache.truncate(0, 33);
  CHECK(ratio(decoded(sequence.last(1, 33).q, cache, dynamic), sequence.last(1, 33), at(33)) <= 1);
  cache.clear(0);
  append(cache, 0, sequence, 0, 25, dynamic);
  CHECK(ratio(decoded(sequence.last(2, 25).q, cache, dynamic), sequence.last(2, 25), at(25)) <= 1);

  // A ring forgets how far its sequence once reached.
  const auto window = SlidingWindow::from_token_count(4);
  const auto near = posenc_test::bind_any(
      rope | Dynamic<PI>{.scheme = {}, .original_context = context} | window, shape);
  const auto near_at = [&](Index n) {
    return posenc_test::bind_any(rope | PI{.factor = factor_at(n)} | window, shape);
  };
  CacheShape small = shape_for(sequence);
  small.capacity = 4;
  auto ring = KeyValueCache<KeyState::raw, float>::ring(small);
  const std::vector<Position> ids{500, 0, 1, 2, 3};
  append(ring, 0, sequence, 0, 4, near, {Positions(std::span(ids).first(4))});
  auto call = sequence.last(1, 4);
  call.options.key_positions = Positions(ids).first(4);
  call.options.query_positions = Positions(2);
  CHECK(ratio(decoded(call.q, ring, near), call, near_at(501)) <= 1);
  append(ring, 0, sequence, 4, 5, near, {Positions(3)});
  call = sequence.last(1, 5);
  call.k = call.k.slice(1, 4);
  call.v = call.v.slice(1, 4);
  CHECK(ratio(decoded(call.q, ring, near), call, near_at(4)) <= 1);
}

}  // namespace by_length_cases
}  // namespace cache_test
