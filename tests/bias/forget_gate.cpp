// SPDX-License-Identifier: MIT
//
// ForgetGate and its sums: against sums in long double, against ALiBi, and against themselves.
#include <posenc/bias/alibi.hpp>
#include <posenc/bias/forget_gate.hpp>

#include "../support/catch.hpp"
#include "../support/gates.hpp"
#include "../support/sentences.hpp"

#include <posenc/validate/validate.hpp>

#include <cmath>

using namespace posenc;
using posenc_test::log_gates;
using posenc_test::sums_of;

namespace forget_gate_cases {

constexpr double never = -std::numeric_limits<double>::infinity();

TEST_CASE("GateSums: within one rounding of the exact sums, over a million tokens") {
  constexpr Index tokens = 1'000'000;
  std::vector<float> gates(tokens);
  for (Index t = 0; t < tokens; ++t)
    gates[static_cast<std::size_t>(t)] =
        -0.1F * static_cast<float>((t * 7919) % 1000) / 1000 - (t % 5000 == 0 ? 9.7F : 0.0F);
  GateSums sums(1, tokens);
  for (Index t = 0; t < tokens; t += 125'000)  // some at a time
    sums.append(0, std::span<const float>(gates).subspan(static_cast<std::size_t>(t), 125'000));
  long double exact = 0;
  double worst = 0;
  for (Index t = 0; t < tokens; ++t) {
    exact += static_cast<long double>(gates[static_cast<std::size_t>(t)]);
    const double off = static_cast<double>(std::abs(sums.of(0, 0)[t] - exact));
    worst = std::max(worst, off / static_cast<double>(std::abs(exact)));
  }
  CHECK(worst <= 0x1p-53 * 1.01);  // adding doubles one by one is off by some thousand times that
}

TEST_CASE("GateSums: truncated, evicted, forked") {
  constexpr Index heads = 3, tokens = 50;
  const std::vector<double> gates = log_gates(tokens, heads, 1);
  const auto some = [&](Index first, Index last) {
    return std::span<const double>(gates).subspan(static_cast<std::size_t>(first * heads),
                                                  static_cast<std::size_t>((last - first) * heads));
  };
  const GateSums whole = sums_of(gates, heads);
  const auto same = [&](const GateSums& a, Index sequence, Index token, Index as) {
    for (Index h = 0; h < heads; ++h)
      CHECK_THAT(a.of(sequence, h)[token], WithinAbs(whole.of(0, h)[as], 1e-12));
  };
  GateSums sums(heads, tokens, 2);
  sums.append(1, some(0, 20));
  GateSums left(
      1, 5);  // gates that an evicted tail has left behind stay, whatever is truncated to nothing
  left.append(0, std::vector<double>{-1, -1, -1, -1});
  left.evict(0, 2, 4);
  left.truncate(0, 2);
  left.append(0, std::vector<double>{-1});
  CHECK(left.of(0, 0)[2] == -5);
  sums.append(1, some(40, 50));  // a guess that was wrong
  sums.truncate(1, 20);
  sums.append(1, some(20, 30));
  CHECK(sums.tokens(1) == 30);
  for (Index t = 0; t < 30; ++t) same(sums, 1, t, t);

  sums.fork(1, 0, 25);
  CHECK(sums.tokens(0) == 25);
  sums.append(0, some(25, 50));
  for (Index t = 0; t < 50; ++t) same(sums, 0, t, t);

  sums.evict(0, 10, 30);  // their gates stay, also those of the last
  sums.evict(1, 20, 30);
  sums.append(1, some(30, 50));
  CHECK(sums.tokens(0) == 30);
  CHECK(sums.tokens(1) == 40);
  for (Index t = 0; t < 10; ++t) same(sums, 0, t, t);
  for (Index t = 10; t < 30; ++t) same(sums, 0, t, t + 20);
  for (Index t = 20; t < 40; ++t) same(sums, 1, t, t + 10);
  sums.clear(0);
  CHECK(sums.tokens(0) == 0);
  sums.append(0, some(0, 50));
  for (Index t = 0; t < 50; ++t) same(sums, 0, t, t);
  CHECK(sums.tokens(2) == 0);
}

TEST_CASE("GateSums: copies are the same memory") {
  GateSums sums(1, 8);
  const ForgetGate bound_before{.sums = sums};
  sums.append(0, std::vector<float>{-1, -2, -4});
  CHECK(bound_before.known_tokens(0) == 3);
  CHECK(bound_before.score_bias({.query_index = 2, .key_index = 0}) == -6);
}

TEST_CASE("GateSums: what is wrong is said, and nothing is appended") {
  const auto said = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      return error.problems().front();
    }
    return "";
  };
  GateSums sums(2, 4);
  CHECK_THAT(said([] { GateSums(0, 4); }), ContainsSubstring("must be positive, got 0, 4 and 1"));
  CHECK_THAT(said([] { GateSums(Index{1} << 40, Index{1} << 40); }),
             ContainsSubstring("do not fit in memory"));
  const auto append = [&](std::vector<double> gates) {
    return said([&] { sums.append(0, std::span<const double>(gates)); });
  };
  CHECK_THAT(append({-1, -1, -1}),
             ContainsSubstring("got 3 gates, which are no whole tokens of 2"));
  CHECK_THAT(append({-1, 0.5}), ContainsSubstring("finite and at most 0, got 0.5"));
  CHECK_THAT(append({-1, -HUGE_VAL}), ContainsSubstring("got -inf"));
  CHECK_THAT(append({-1, NAN}), ContainsSubstring("at most 0, got"));
  CHECK_THAT(append(std::vector<double>(10, -1.0)), ContainsSubstring("no room for 5 more"));
  CHECK_THAT(said([&] { sums.append(1, std::vector<float>{-1, -1}); }),
             ContainsSubstring("sums of 1 sequences, got 1"));
  CHECK(sums.tokens(0) == 0);
  CHECK_THAT(said([&] { sums.truncate(0, 1); }), ContainsSubstring("cannot end at 1"));
  CHECK_THAT(said([&] { sums.evict(0, 0, 1); }), ContainsSubstring("cannot be dropped"));
  CHECK_THAT(said([&] { sums.fork(0, 0, 1); }), ContainsSubstring("copied up to 1"));
}

TEST_CASE("log_sigmoid: where the exponential would overflow, and where it rounds away") {
  CHECK_THAT(log_sigmoid(0), WithinRel(-0.693147180559945309, 1e-15));
  CHECK(log_sigmoid(-1000) == -1000);
  CHECK_THAT(log_sigmoid(40), WithinRel(-std::exp(-40.0), 1e-14));
  CHECK(log_sigmoid(1000) == 0);
}

TEST_CASE("ForgetGate: gates that do not depend on tokens are ALiBi") {
  constexpr Index heads = 8, tokens = 300;
  const std::vector<double> slopes = alibi_slopes(heads);
  GateSums sums(heads, tokens);
  for (Index t = 0; t < tokens; ++t) {
    std::vector<double> gates;
    for (const double slope : slopes) gates.push_back(-slope);  // exact: a power of two
    sums.append(0, gates);
  }
  const ForgetGate gate{.sums = sums};
  const PreparedALiBi alibi = ALiBi{}.prepare({.num_heads = heads, .num_kv_heads = heads});
  int wrong = 0;
  for (Index h = 0; h < heads; ++h)
    for (Position q = 0; q < tokens; q += 7)
      for (Position k = 0; k <= q; ++k)
        wrong += gate.score_bias({0, 0, q, k, h}) != alibi.relative_bias(h, q - k);
  CHECK(wrong == 0);
}

TEST_CASE("ForgetGate: a key's own gate does not count, the query's does") {
  const ForgetGate gate{.sums = sums_of({-100, -1, -2, -4}, 1)};
  CHECK(gate.score_bias({.query_index = 3, .key_index = 3}) == 0);
  CHECK(gate.score_bias({.query_index = 3, .key_index = 2}) == -4);
  CHECK(gate.score_bias({.query_index = 3, .key_index = 0}) == -7);
}

TEST_CASE(
    "ForgetGate: tiles agree with scores, with and without pruning, and gradients with "
    "differences") {
  constexpr Index heads = 4, tokens = 260;
  const std::vector<double> gates = log_gates(tokens, heads, 2);
  const ValidateOptions options{.shape = {.num_heads = heads, .num_kv_heads = heads},
                                .extent = tokens};
  for (const double least : {never, -3.0, -0.5, 0.0})
    CHECK_NOTHROW(validate(ForgetGate{sums_of(gates, heads), least}, options));
  CHECK_THROWS_WITH(
      validate(ForgetGate{sums_of(gates, heads)}, {.shape = options.shape}),
      ContainsSubstring("there are data of 260 tokens of sequence 0, but extent is 4096"));
  // Parameters are numbered by head and token.
  std::vector<double> all = gates;
  for (double& gate : all) gate -= 0.01;  // so that none becomes positive
  CHECK_NOTHROW(validate(
      ForgetGate{sums_of(all, heads)},
      [&](Index i, double by) {
        std::vector<double> moved = all;
        moved[static_cast<std::size_t>(i % tokens * heads + i / tokens)] += by;
        return ForgetGate{sums_of(moved, heads)};
      },
      1e-4, options));
}

TEST_CASE("ForgetGate: pruned tiles are none, and a tile knows its heads") {
  // Head 0 forgets by 1 at each token, head 1 not at all.
  constexpr Index tokens = 200;
  GateSums sums(2, tokens);
  for (Index t = 0; t < tokens; ++t) sums.append(0, std::vector<double>{-1, 0});
  const ForgetGate gate{.sums = sums, .least_bias = -20};
  const auto tile = [](Position query, Position key, Interval heads) {
    const Interval q{query, query + 9}, k{key, key + 9};
    return Tile{q, k, q, k, heads};
  };
  CHECK(gate.classify(tile(100, 70, {0, 0})) == TileClass::none);     // 21 to 39
  CHECK(gate.classify(tile(100, 71, {0, 0})) == TileClass::partial);  // 20 to 38
  CHECK(gate.classify(tile(100, 89, {0, 0})) == TileClass::full);     // 2 to 20
  CHECK(gate.classify(tile(100, 70, {0, 1})) == TileClass::partial);
  CHECK(gate.classify(tile(100, 70, {1, 1})) == TileClass::full);
  CHECK(ForgetGate{.sums = sums}.classify(tile(100, 0, {0, 0})) == TileClass::full);
  CHECK_THAT(ForgetGate::pruning_bias(5, 1000), WithinRel(-20 - std::log(1000.0), 1e-15));
}

TEST_CASE("ForgetGate: what is wrong is said") {
  CHECK(sentences_of(ForgetGate{GateSums(2, 4)}, 2).empty());
  CHECK_THAT(sentences_of(ForgetGate{}, 2),
             ContainsSubstring("sums for 0 heads, but 2 query heads"));
  CHECK_THAT(sentences_of(ForgetGate{GateSums(1, 4)}, 2), ContainsSubstring("sums for 1 heads"));
  CHECK_THAT(sentences_of(ForgetGate{GateSums(2, 4), 1.5}, 2),
             ContainsSubstring("least_bias must be at most 0, got 1.5"));
  CHECK_THAT(sentences_of(ForgetGate{GateSums(2, 4), NAN}, 2), ContainsSubstring("got nan"));
}

}  // namespace forget_gate_cases
