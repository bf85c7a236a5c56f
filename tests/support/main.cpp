// SPDX-License-Identifier: MIT
//
// The main() of every test program, with either Catch2. Version 2 compiles itself here, once.
//
// A program that was asked by POSENC_SIMD for a level that this machine lacks exits with 77, which
// CTest counts as skipped.
#include <posenc/simd/level.hpp>

#include <cstdio>
#include <string_view>

#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

int main(int argc, char** argv) {
  try {
    static_cast<void>(posenc::simd::level());
  } catch (const posenc::Error& error) {
    std::puts(error.what());
    constexpr std::string_view lacking = "this machine has no level";
    return std::string_view(error.what()).find(lacking) == std::string_view::npos ? 2 : 77;
  }
  return Catch::Session().run(argc, argv);
}
