// SPDX-License-Identifier: MIT
#include <posenc/core/problems.hpp>

#include "../support/catch.hpp"

#include <stdexcept>
#include <type_traits>

using namespace posenc;

TEST_CASE("Problems: nothing wrong, nothing thrown") {
  Problems problems;
  problems.require(true, "not said");
  CHECK(problems.empty());
  CHECK(problems.sentences().empty());
  CHECK_NOTHROW(problems.raise_if_any("posenc::test"));
}

TEST_CASE("Problems: one sentence stands on one line") {
  Problems problems;
  problems.require(false, "x must be ", 3, ", got ", 4.5, ".");
  CHECK_FALSE(problems.empty());
  CHECK(problems.sentences() == std::vector<std::string>{"x must be 3, got 4.5."});
  CHECK_THROWS_WITH(problems.raise_if_any("posenc::test"),
                    Catch::Equals("posenc::test: x must be 3, got 4.5."));
}

TEST_CASE("Problems: several are counted and listed in order") {
  Problems problems;
  problems.add("first ", 1);
  problems.require(true, "not said");
  problems.add("second ", std::string("two"));
  problems.add("third");
  CHECK_THROWS_WITH(
      problems.raise_if_any("posenc::test"),
      Catch::Equals("posenc::test: 3 problems\n  - first 1\n  - second two\n  - third"));
  try {
    problems.raise_if_any("posenc::test");
    FAIL("must throw");
  } catch (const Error& error) {
    CHECK(error.problems() == problems.sentences());
  }
}

TEST_CASE("Problems: numbers are readable") {
  Problems problems;
  problems.add(0.1, " ", 1e-7, " ", 131072.0, " ", 500000.0, " ", 9007199254740993LL, " ", -0.5F);
  CHECK(problems.sentences().front() == "0.1 1e-07 131072 500000 9007199254740993 -0.5");
}

TEST_CASE("Error: a standard exception that can be copied") {
  STATIC_REQUIRE(std::is_base_of_v<std::invalid_argument, Error>);
  STATIC_REQUIRE(std::is_copy_constructible_v<Error>);
  const Error error("who", {"what."});
  const Error copy = error;
  CHECK(std::string(copy.what()) == "who: what.");
  CHECK(copy.problems().size() == 1);
}
