// SPDX-License-Identifier: MIT
//
// Which level runs, and who decides.
#include <posenc/eigen.hpp>
#include <posenc/simd/dispatch.hpp>

#include "../support/catch.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>

using namespace posenc;

namespace {

/// The level that dispatch() hands to its body.
template <class T>
simd::Level dispatched() {
  return simd::dispatch<T>([]<class L>(L) { return L::level; });
}

bool available(simd::Level level) {
  const auto levels = simd::available_levels();
  return std::find(levels.begin(), levels.end(), level) != levels.end();
}

}  // namespace

TEST_CASE("scalar is always available, and levels are ordered from portable to wide") {
  const auto levels = simd::available_levels();
  REQUIRE(!levels.empty());
  CHECK(levels.front() == simd::Level::scalar);
  CHECK(std::is_sorted(levels.begin(), levels.end()));
}

TEST_CASE("the level is POSENC_SIMD's, or the best") {
  const char* wish = std::getenv("POSENC_SIMD");
  const simd::Level level = simd::level();
  if (wish && *wish)
    CHECK(std::string(simd::name(level)) == wish);
  else
    CHECK(level == simd::available_levels().back());
}

TEST_CASE("dispatch runs the level that was forced, for every level") {
  const simd::Level before = simd::level();
  for (const simd::Level level : simd::available_levels()) {
    const simd::ForcedLevel guard(level);
    CAPTURE(simd::name(level));
    CHECK(simd::level() == level);
    CHECK(dispatched<Eigen::bfloat16>() == level);
    // The level that only adds bfloat16 is the one below for everything else.
    const simd::Level expected = level == simd::Level::avx512_bf16 ? simd::Level::avx512 : level;
    CHECK(dispatched<float>() == expected);
    CHECK(dispatched<double>() == expected);
    CHECK(dispatched<Eigen::half>() == expected);
  }
  CHECK(simd::level() == before);
}

TEST_CASE("a forced level holds for all threads, and can be taken back") {
  simd::force(simd::Level::scalar);
  simd::Level seen{};
  std::thread([&] { seen = simd::level(); }).join();
  CHECK(seen == simd::Level::scalar);
  {
    const simd::ForcedLevel guard(simd::available_levels().back());
    CHECK(simd::level() == simd::available_levels().back());
  }
  CHECK(simd::level() == simd::Level::scalar);
  simd::force(std::nullopt);
  CHECK_NOTHROW(simd::level());
}

TEST_CASE("a level that is not there is an error that names what is") {
  for (const simd::Level level : simd::all_levels) {
    if (available(level)) continue;
    CAPTURE(simd::name(level));
    const simd::Level before = simd::level();
    try {
      simd::force(level);
      FAIL("no error");
    } catch (const Error& error) {
      REQUIRE(error.problems().size() == 1);
      const std::string& sentence = error.problems().front();
      CHECK(sentence.find(simd::name(level)) != std::string::npos);
      CHECK(sentence.find("it has scalar") != std::string::npos);
    }
    CHECK(simd::level() == before);
  }
}

TEST_CASE("detection is consistent") {
  const simd::Machine& machine = simd::machine();
  CHECK((!machine.avx512 || machine.avx2));
  CHECK((!machine.avx512_bf16 || machine.avx512));
  CHECK((!simd::amx_permitted() || machine.amx_bf16));
  CHECK(&simd::machine() == &machine);
#if defined(__x86_64__)
  // The compiler's own detection, where it knows the name.
  CHECK(machine.avx2 == (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
  CHECK(machine.avx512 ==
        (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")));
#endif
}
