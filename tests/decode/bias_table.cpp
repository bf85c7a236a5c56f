// SPDX-License-Identifier: MIT
//
// A bias by distance is evaluated once for each head and distance, however many steps ask for it, and
// is to the bit what it is without a table.
#include "../attention/calls.hpp"
#include "../support/allocations.hpp"
#include "../support/bind_any.hpp"
#include "calls.hpp"

#include <posenc/bias/bias.hpp>
#include <posenc/bias/kerple.hpp>
#include <posenc/mask/causal.hpp>

#include <atomic>
#include <thread>

namespace decode_test {
namespace bias_table_cases {

using attention_test::differing_rows;
using posenc_test::allocations;

constexpr Index heads = 4, kv_heads = 2, width = 16;
constexpr BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};
const RoPE<HalfSplit> rope{.head_dim = width};

// Not inlined: what the table is compared with rounds the bias before it is added, too.
[[gnu::noinline]] double logarithm(Index head, Position distance) {
  return -0.4 * static_cast<double>(head + 1) *
         std::log1p(0.7 * std::abs(static_cast<double>(distance)));
}
float rounded(Index head, Position distance) {
  return static_cast<float>(logarithm(head, distance));
}

/// The same bias as a component that has no table.
template <double (*f)(Index, Position)>
struct Untabulated {
  [[nodiscard]] double relative_bias(Index head, Position distance) const {
    return f(head, distance);
  }
};
[[gnu::noinline]] double of_rounded(Index head, Position distance) {
  return static_cast<double>(rounded(head, distance));
}
[[gnu::noinline]] double of_kerple(Index head, Position distance) {
  return -0.5 * static_cast<double>(head + 1) *
         std::log1p(0.25 * std::abs(static_cast<double>(distance)));
}

/// Steps of one query and of three over a growing sequence, and queries that stand elsewhere: behind
/// the table, before their keys, and with positions that go up and down.
template <class U>
void check_same_bits(const char* name, const AnyEncoding& tabulated, const AnyEncoding& plain) {
  INFO(name);
  const AnyBound a = bind(rope | tabulated | Causal{}, shape);
  const AnyBound b = bind(rope | plain | Causal{}, shape);
  const Sequence<U> sequence(900, heads, kv_heads, width, width);
  Holder<KeyState::rotated, U> cache(Kind::contiguous, shape_for(sequence, 2));
  const std::vector<Index> first{0}, second{1};
  Index n = 0;
  for (const Index some : {1, 2, 250, 3, 1, 500, 20, 3, 1}) {
    append(*cache, 0, sequence, n, n + some, a);
    n += some;
    INFO(n << " tokens");
    const Index queries = std::min<Index>(some, 3);
    const auto call = sequence.last(queries, n);
    const Output<U> result = decoded(call.q, *cache, a, {.sequences = first});
    CHECK(differing_rows(result, decoded(call.q, *cache, b, {.sequences = first})) == 0);
    CHECK(ratio(result, call, b) <= 1);
    for (const Position at : {Position{100}, Position{70'000}, Position{-9}}) {
      const DecodeOptions<U> options{.sequences = first, .query_positions = Positions(at)};
      CHECK(differing_rows(decoded(call.q, *cache, a, options),
                           decoded(call.q, *cache, b, options)) == 0);
    }
  }
  std::vector<Position> scattered;
  for (Index t = 0; t < 300; ++t) scattered.push_back(t * 37 % 301 * (t % 5 == 0 ? 9 : 1));
  append(*cache, 1, sequence, 0, 300, a, {Positions(scattered)});
  const auto call = sequence.last(2, 300);
  CHECK(differing_rows(decoded(call.q, *cache, a, {.sequences = second}),
                       decoded(call.q, *cache, b, {.sequences = second})) == 0);
}

TEST_CASE("decode: a bias from a table has the bits of the function") {
  const auto check = [](const char* name, const auto& tabulated, const auto& plain) {
    check_same_bits<float>(name, AnyEncoding(tabulated), AnyEncoding(plain));
    check_same_bits<double>(name, AnyEncoding(tabulated), AnyEncoding(plain));
  };
  check("double", bias(logarithm), Untabulated<logarithm>{});
  check("float", bias(rounded), Untabulated<of_rounded>{});
  check("a table that ends within the sequence", bias(logarithm, 300), Untabulated<logarithm>{});
  check("no table", bias(logarithm, 0), Untabulated<logarithm>{});
  check("KerpleLog", KerpleLog{.r1 = {0.5, 1, 1.5, 2}, .r2 = {0.25}}, Untabulated<of_kerple>{});
}

/// What compilers would fuse with the sum that it is added in.
template <class U>
constexpr auto product =
    [](Index, Position distance) { return static_cast<U>(-0.00013) * static_cast<U>(distance); };

TEST_CASE("decode: a product of the distance has the same bits with and without a table") {
  check_same_bits<float>("float", AnyEncoding(bias(product<float>)),
                         AnyEncoding(bias(product<float>, 0)));
  check_same_bits<double>("double", AnyEncoding(bias(product<double>)),
                          AnyEncoding(bias(product<double>, 0)));
  const KerpleLog kerple{.r1 = {0.5, 1, 1.5, 2}, .r2 = {0.25}};
  KerpleLog untabulated = kerple;
  untabulated.cached_distances = 0;
  check_same_bits<double>("KerpleLog", AnyEncoding(kerple), AnyEncoding(untabulated));
}

TEST_CASE("decode: threads that come to an empty table together get the same bits") {
  constexpr Index keys = 9'001;
  const Sequence<float> sequence(keys, heads, kv_heads, width, width);
  Holder<KeyState::rotated, float> cache(Kind::contiguous, shape_for(sequence));
  const auto plain = bind(rope | bias(product<float>, 0) | Causal{}, shape);
  append(*cache, 0, sequence, 0, keys, plain);
  const auto q = sequence.last(1, keys).q;
  const Output<float> expected = decoded(q, *cache, plain);
  for (int round = 0; round < 20; ++round) {
    const auto fresh = bind(rope | bias(product<float>) | Causal{}, shape);
    std::atomic<int> waiting{2};
    Index differing[2] = {-1, -1};
    const auto run = [&](int thread) {
      for (--waiting; waiting > 0;) std::this_thread::yield();
      differing[thread] = differing_rows(decoded(q, *cache, fresh), expected);
    };
    std::thread other(run, 1);
    run(0);
    other.join();
    CHECK(differing[0] == 0);
    CHECK(differing[1] == 0);
  }
}

TEST_CASE("decode: a step evaluates a bias at the distances that are new, and allocates nothing") {
  static std::atomic<Index> evaluations;
  const auto counted = [](Index head, Position distance) {
    ++evaluations;
    return logarithm(head, distance);
  };
  const auto bound = posenc_test::bind_any(rope | bias(counted) | Causal{}, shape);
  const Sequence<float> sequence(1'500, heads, kv_heads, width, width);
  Holder<KeyState::rotated, float> cache(Kind::contiguous, shape_for(sequence));
  const attention_test::Workspace workspace(decode_workspace(bound, *cache));
  append(*cache, 0, sequence, 0, 1'000, bound);
  Output<float> result(sequence.last(1, 1'000));
  const auto step = [&](Index n) {
    const Index before = evaluations;
    const std::size_t allocated = allocations();
    decode(sequence.last(1, n).q, *cache, result.out.view(), bound,
           {.workspace = workspace.memory()});
    CHECK(allocations() == allocated);
    return evaluations - before;
  };
  // Pieces of 256 distances of each head.
  CHECK(step(1'000) == heads * 1'024);
  CHECK(step(1'000) == 0);
  Index later = 0;
  for (Index n = 1'001; n <= 1'500; ++n) {
    append(*cache, 0, sequence, n - 1, n, bound);
    later += step(n);
  }
  CHECK(later == heads * 512);
}

}  // namespace bias_table_cases
}  // namespace decode_test
