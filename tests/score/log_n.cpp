// SPDX-License-Identifier: MIT
#include <posenc/score/log_n.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

TEST_CASE("LogN: Attention-E counts the keys of a causal row") {
  const LogN log_n{};
  CHECK_THAT(log_n.temperature(1023), WithinAbs(1.1111111, 1e-7));
  CHECK(log_n.temperature(511) == 1);
  CHECK(log_n.temperature(0) == log_n.temperature(15));
  CHECK_THAT(log_n.temperature(0), WithinRel(4.0 / 9, 1e-14));
  CHECK(log_n.temperature(16) > log_n.temperature(15));
  CHECK(LogN{.minimum_keys = 1}.temperature(0) == 0);
  for (Position i : {20, 100, 70'000})
    CHECK_THAT(
        log_n.temperature(i),
        WithinRel(static_cast<double>(std::log(static_cast<long double>(i + 1)) / std::log(512.0L)),
                  1e-14));
}

TEST_CASE("LogN: clipped, it changes nothing up to the trained length") {
  const LogN log_n{.base_length = 8192, .clipped = true};
  CHECK_THAT(log_n.temperature(32767), WithinAbs(1.15384615, 1e-8));
  for (Position i = 0; i < 8192; ++i) REQUIRE(log_n.temperature(i) == 1);
  for (Position i = 8192; i < 40'000; ++i) {
    REQUIRE(log_n.temperature(i) > 1);
    REQUIRE(log_n.temperature(i) > log_n.temperature(i - 1));
  }
}

TEST_CASE("LogN: clipped, it equals Qwen's table, which begins with one key") {
  constexpr Position trained = 2048;
  const LogN log_n{.base_length = trained, .clipped = true};
  std::vector<double> table;
  for (int j = 1; j < 32768; ++j)
    table.push_back(j > trained ? std::log(j) / std::log(trained) : 1);
  for (std::size_t i = 0; i < table.size(); ++i)
    REQUIRE_THAT(log_n.temperature(static_cast<Position>(i)), WithinRel(table[i], 1e-15));
}

TEST_CASE("LogN: finite at the greatest position and before the first") {
  constexpr Position most = std::numeric_limits<Position>::max();
  CHECK_THAT(LogN{}.temperature(most), WithinRel(7.0, 1e-12));
  CHECK_THAT(LogN{}.temperature(-most - 1), WithinRel(4.0 / 9, 1e-14));
}

TEST_CASE("LogN: what is wrong is said") {
  CHECK(sentences_of(LogN{}).empty());
  CHECK_THAT(sentences_of(LogN{.base_length = 1}),
             ContainsSubstring("base_length must be at least 2, got 1"));
  CHECK_THAT(sentences_of(LogN{.minimum_keys = 0}),
             ContainsSubstring("minimum_keys must be at least 1, got 0"));
}
