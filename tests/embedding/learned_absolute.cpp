// SPDX-License-Identifier: MIT
#include "../support/catch.hpp"

#include <posenc/embedding/learned_absolute.hpp>

using namespace posenc;

static_assert(InputEmbedding<LearnedAbsolute> && Checks<LearnedAbsolute>);

namespace learned_absolute_cases {

/// Five rows of three channels, none a combination of the others by accident.
LearnedAbsolute five() {
  return {
      .table = {1, -2, 3, 0.5F, 4, 7, -1, 0.25F, 2, 9, 8, -3, 6, 5, 1.5F}, .length = 5, .width = 3};
}

std::vector<double> embedded(const LearnedAbsolute& encoding, double position) {
  std::vector<double> out(static_cast<std::size_t>(encoding.width));
  encoding.embed(position, out);
  return out;
}

void check_refused(const LearnedAbsolute& encoding, double position, const std::string& fragment) {
  try {
    embedded(encoding, position);
    FAIL("no error at position " << position);
  } catch (const Error& error) {
    CHECK_THAT(error.what(), ContainsSubstring(fragment));
  }
}

std::vector<std::string> sentences(const LearnedAbsolute& encoding) {
  Problems problems;
  encoding.check(problems, HeadShape{});
  return problems.sentences();
}

void check_sentence(const LearnedAbsolute& encoding, const std::string& fragment) {
  const std::vector<std::string> found = sentences(encoding);
  REQUIRE(found.size() == 1);
  CHECK_THAT(found.front(), ContainsSubstring(fragment));
}

TEST_CASE("LearnedAbsolute reads its table") {
  LearnedAbsolute encoding = five();
  CHECK(embedded(encoding, 0) == std::vector<double>{1, -2, 3});
  CHECK(embedded(encoding, 4) == std::vector<double>{6, 5, 1.5});
  encoding.offset = 2;
  CHECK(embedded(encoding, 0) == std::vector<double>{-1, 0.25, 2});
  encoding.scale = 0.5;
  CHECK(embedded(encoding, 2) == std::vector<double>{3, 2.5, 0.75});
}

TEST_CASE("LearnedAbsolute refuses positions without a vector") {
  LearnedAbsolute encoding = five();
  check_refused(encoding, 5,
                "whole positions 0 to 4, got position 5; `hierarchical` would extend it");
  check_refused(encoding, -1, "got position -1");
  check_refused(encoding, 1.5, "got position 1.5");
  check_refused(encoding, std::numeric_limits<double>::quiet_NaN(), "got position nan");
  encoding.offset = 2;
  check_refused(encoding, 3, "whole positions 0 to 2, got position 3");
  encoding.hierarchical = 0.4;
  CHECK_NOTHROW(embedded(encoding, 8));
  check_refused(encoding, 9, "whole positions 0 to 8, got position 9.");
}

TEST_CASE("LearnedAbsolute extends hierarchically") {
  for (Index offset : {0, 1}) {
    LearnedAbsolute plain = five(), encoding = five();
    plain.offset = encoding.offset = offset;
    encoding.hierarchical = 0.4;
    const Index rows = 5 - offset;
    CHECK(encoding.reach() == rows * rows);
    for (Index n = 0; n < rows * rows; ++n) {
      const std::vector<double> out = embedded(encoding, static_cast<double>(n));
      if (n < rows) CHECK(out == embedded(plain, static_cast<double>(n)));
      for (Index c = 0; c < 3; ++c) {
        const auto u = [&](Index j) {
          const long double zero = plain.table[static_cast<std::size_t>(offset * 3 + c)];
          return (plain.table[static_cast<std::size_t>((offset + j) * 3 + c)] - 0.4L * zero) / 0.6L;
        };
        CHECK_THAT(out[static_cast<std::size_t>(c)],
                   WithinAbs(static_cast<double>(0.4L * u(n / rows) + 0.6L * u(n % rows)), 1e-13));
      }
    }
  }
}

TEST_CASE("LearnedAbsolute reports wrong parameters") {
  CHECK(sentences(five()).empty());
  const auto with = [](auto change) {
    LearnedAbsolute encoding = five();
    change(encoding);
    return encoding;
  };
  check_sentence(with([](auto& e) { e.table.pop_back(); }),
                 "table must hold length * width values, got 14 for 5 * 3");
  check_sentence(with([](auto& e) { e.width = -3; }), "got 15 for 5 * -3");
  check_sentence({}, "got 0 for 0 * 0");
  check_sentence(with([](auto& e) { e.length = std::numeric_limits<Index>::max(); }),
                 "table must hold");
  check_sentence(with([](auto& e) { e.offset = 5; }),
                 "must be within the 5 rows of the table, got 5");
  check_sentence(with([](auto& e) { e.offset = -1; }), "got -1");
  check_sentence(with([](auto& e) { e.scale = std::numeric_limits<double>::infinity(); }),
                 "scale must be finite, got inf");
  for (double a : {0.0, 0.5, 1.0, -1.0})
    check_sentence(with([&](auto& e) { e.hierarchical = a; }),
                   "hierarchical must be between 0 and 1 and not 1/2");
}

}  // namespace learned_absolute_cases
