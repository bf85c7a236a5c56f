// SPDX-License-Identifier: MIT
#include <posenc/bias/fire.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

#include <cmath>
#include <random>
#include <set>
#include <typeindex>
#include <typeinfo>

using namespace posenc;

namespace fire_cases {

HeadShape heads(Index num_heads) { return {.num_heads = num_heads, .num_kv_heads = num_heads}; }

Score at(Position query, Position key, Index head) {
  return {.query = query, .key = key, .query_index = query, .key_index = key, .head = head};
}

Fire random_fire(Index width, Index num_heads, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw;
  const auto values = [&](Index n) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& v : x) v = draw(random);
    return x;
  };
  return {.hidden_weight = values(width),
          .hidden_bias = values(width),
          .output_weight = values(width * num_heads),
          .output_bias = values(num_heads)};
}

/// The reference's network, in long double, and the sum of the magnitudes in it.
std::pair<long double, long double> network(const Fire& fire, const Score& s) {
  const auto psi = [&](long double x) {
    return std::log1p(std::abs(static_cast<long double>(fire.c) * x));
  };
  const auto query = static_cast<long double>(s.query);
  const long double u =
      psi(static_cast<long double>(s.query - s.key)) /
      (psi(std::max(static_cast<long double>(fire.threshold), query)) + fire.epsilon);
  const std::size_t width = fire.hidden_weight.size();
  const auto head = static_cast<std::size_t>(s.head);
  long double sum = fire.output_bias[head], magnitude = std::abs(sum);
  for (std::size_t k = 0; k < width; ++k) {
    const long double w = fire.hidden_weight[k], b = fire.hidden_bias[k];
    const long double out = fire.output_weight[head * width + k];
    sum += out * std::max(0.0L, w * u + b);
    magnitude += std::abs(out) * (std::abs(w * u) + std::abs(b));
  }
  return {sum, magnitude};
}

void equals_network(const Fire& fire, Index num_heads, const std::vector<Position>& positions) {
  const PreparedFire bias = fire.prepare(heads(num_heads));
  double worst = 0;
  for (const Position query : positions)
    for (const Position key : positions)
      for (Index head = 0; head < num_heads; ++head) {
        const auto [expected, magnitude] = network(fire, at(query, key, head));
        const long double off = std::abs(expected - bias.score_bias(at(query, key, head)));
        worst = std::max(worst, static_cast<double>(off / magnitude));
      }
  CHECK(worst <= 1e-15 * static_cast<double>(fire.hidden_weight.size() + 8));
}

const std::vector<Position> positions = {0,   1,    2,      3,      7,      20,     100,       511,
                                         512, 513,  1000,   4095,   65'535, 65'536, 1'000'003, -1,
                                         -5,  -700, 33'000, 65'537, 77'777, 8191,   300,       64};

TEST_CASE("Fire: equals the network, in long double") {
  for (const Index width : {1, 2, 3, 31, 32, 33, 100})
    for (const unsigned seed : {1U, 2U, 3U}) {
      equals_network(random_fire(width, 3, seed), 3, positions);
      Fire other = random_fire(width, 2, seed + 10);
      other.c = -3.5F;
      other.threshold = 40.25;
      other.epsilon = 0.01;
      other.cached_distances = 100;
      equals_network(other, 2, positions);
    }
  std::vector<Position> all(300);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Position>(i);
  equals_network(random_fire(32, 2, 7), 2, all);
}

TEST_CASE("Fire: a tile's function is the network at each of its scores, in every way it is made") {
  std::set<std::type_index> ways;
  const auto check = [&](const Fire& fire, const Interval& queries, const Interval& keys,
                         Position step = 1) {
    const PreparedFire bias = fire.prepare(heads(2));
    const Tile tile{.query = queries, .key = keys, .query_index = queries, .key_index = keys};
    double worst = 0;
    int asked = 0;
    bias.tile_bias(tile, 1, [&]<class F>(const F& f) {
      ways.insert(typeid(F));
      for (Position query = queries.first; query <= queries.last; ++query)
        for (Position key = keys.first + query % step; key <= keys.last; key += step, ++asked) {
          const auto [expected, magnitude] = network(fire, at(query, key, 1));
          const long double off = std::abs(expected - f(at(query, key, 1)));
          worst = std::max(worst, static_cast<double>(off / magnitude));
        }
    });
    CAPTURE(queries.first, queries.last, keys.first, keys.last, fire.hidden_weight.size());
    CHECK(asked == (queries.last - queries.first + 1) * ((keys.last - keys.first + 1) / step));
    CHECK(worst <= 1e-15 * static_cast<double>(fire.hidden_weight.size() + 8));
  };
  for (const Index width : {1, 8, 32, 100})
    for (const bool dense : {false, true}) {
      Fire fire = random_fire(width, 2, 9);
      fire.threshold = 100;
      fire.cached_distances = 600;
      for (std::size_t k = 0; dense && k < fire.hidden_weight.size(); ++k)
        fire.hidden_bias[k] =
            -fire.hidden_weight[k] * (static_cast<float>(k) + 0.5F) / static_cast<float>(width);
      for (const Interval queries :
           {Interval{0, 63}, {64, 127}, {300, 300}, {500, 563}, {536, 599}})
        for (const Interval keys : {Interval{0, 63}, {64, 127}, {490, 553}, {520, 520}, {530, 590}})
          check(fire, queries, keys);
      check(fire, {-3, 10}, {0, 20});       // below the tables
      check(fire, {590, 600}, {580, 599});  // the last one is beyond them
      check(fire, {0, 599}, {0, 599}, 20);
      check(fire, {0, 10}, {600, 620});   // too far in the future
      check(fire, {560, 599}, {-30, 5});  // too far in the past
    }
  // One line, up to 8 and up to 32 breakpoints, more of them, positions beyond the tables.
  CHECK(ways.size() == 5);
}

TEST_CASE("Fire: units that are constant, always on, never on, or turn at the same place") {
  const Fire fire{.hidden_weight = {0, 0, 1, 1, -1, -1, 2, -2, 0.5F, 1e-30F},
                  .hidden_bias = {1, -1, 0, -0.5F, 0.5F, -1, -1, 1, 0.25F, -1e8F},
                  .output_weight = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
                  .output_bias = {0.125F}};
  equals_network(fire, 1, positions);
  const PreparedFire bias = fire.prepare(heads(1));
  // u = 0: the units of positive bias alone, 1 + 5/2 + 8 + 9/4 and 1/8.
  CHECK(bias.score_bias(at(17, 17, 0)) == 13.875);
}

TEST_CASE("Fire: the paper's normalised distance, read off an identity network") {
  const Fire fire{
      .hidden_weight = {1}, .hidden_bias = {0}, .output_weight = {1}, .output_bias = {0}};
  const PreparedFire u = fire.prepare(heads(1));
  CHECK_THAT(u.score_bias(at(100, 90, 0)), WithinRel(std::log(2.0) / std::log(52.2), 1e-6));
  CHECK_THAT(u.score_bias(at(10'000, 9'000, 0)),
             WithinRel(std::log(101.0) / std::log(1001.0), 1e-6));
  for (const Position query :
       {Position{0}, Position{5}, Position{512}, Position{1} << 20, Position{1} << 52}) {
    CHECK(u.score_bias(at(query, query, 0)) == 0);
    const double farthest = u.score_bias(at(query, 0, 0));
    CHECK(farthest >= 0);
    CHECK(farthest < 1);
  }
  CHECK_THAT(u.score_bias(at(Position{1} << 52, 0, 0)), WithinAbs(1, 1e-7));
}

TEST_CASE("Fire: translation below the threshold, and only there") {
  const PreparedFire bias = random_fire(32, 1, 5).prepare(heads(1));
  CHECK(bias.score_bias(at(100, 60, 0)) == bias.score_bias(at(500, 460, 0)));
  CHECK(bias.score_bias(at(100, 60, 0)) != bias.score_bias(at(5000, 4960, 0)));
  CHECK(bias.score_bias(at(-100, -140, 0)) == bias.score_bias(at(500, 460, 0)));
}

TEST_CASE("Fire: a linear function of a nearly linear psi is ALiBi") {
  const float slope = -64;
  Fire fire{.hidden_weight = {1}, .hidden_bias = {0}, .output_weight = {slope}, .output_bias = {0}};
  fire.c = 1e-12F;
  fire.epsilon = 1e-30;
  const PreparedFire bias = fire.prepare(heads(1));
  for (const Position d : {0, 1, 7, 100, 500})
    CHECK_THAT(bias.score_bias(at(500, 500 - d, 0)),
               WithinRel(-64.0 / 512 * static_cast<double>(d), 1e-8));
}

TEST_CASE("Fire: what is wrong is said") {
  const Fire good = random_fire(4, 4, 1);
  CHECK(sentences_of(good).empty());
  const auto with = [&](auto change) {
    Fire fire = good;
    change(fire);
    return sentences_of(fire);
  };
  CHECK_THAT(sentences_of(Fire{}),
             ContainsSubstring("hidden_weight must have a value per hidden unit"));
  CHECK(with([](Fire& f) { f.hidden_bias.pop_back(); }) ==
        "Fire: hidden_bias must have 4 values, as many as hidden_weight, got 3.\n");
  CHECK(with([](Fire& f) { f.output_weight.pop_back(); }) ==
        "Fire: output_weight must have 4 query heads x 4 hidden units, got 15 values.\n");
  CHECK_THAT(
      sentences_of(good, 2),
      ContainsSubstring("output_bias must have one value for each of the 2 query heads, got 4"));
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  CHECK(with([&](Fire& f) { f.hidden_weight[2] = nan; }) ==
        "Fire: every value of hidden_weight must be finite.\n");
  CHECK_THAT(with([&](Fire& f) { f.hidden_bias[0] = infinity; }), ContainsSubstring("hidden_bias"));
  CHECK_THAT(with([&](Fire& f) { f.output_weight[15] = nan; }), ContainsSubstring("output_weight"));
  CHECK_THAT(with([&](Fire& f) { f.output_bias[3] = -infinity; }),
             ContainsSubstring("output_bias"));
  CHECK_THAT(with([](Fire& f) { f.c = 0; }),
             ContainsSubstring("c must be finite and not zero, got 0"));
  CHECK_THAT(with([&](Fire& f) { f.c = nan; }), ContainsSubstring("c must be finite"));
  CHECK_THAT(with([](Fire& f) { f.threshold = 0; }),
             ContainsSubstring("threshold must be positive and finite, got 0"));
  CHECK_THAT(with([](Fire& f) { f.epsilon = -1; }),
             ContainsSubstring("epsilon must be positive and finite, got -1"));
  CHECK_THAT(with([](Fire& f) { f.cached_distances = -1; }),
             ContainsSubstring("cached_distances must lie within [0, 16777216], got -1"));
}

}  // namespace fire_cases
