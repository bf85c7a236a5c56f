// SPDX-License-Identifier: MIT
//
// A fuzzer's bytes as a safetensors file: as they are, and as a header behind its length with 16
// bytes of tensors, which saves it from finding that.
#include "../safetensors/read_all.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t count) {
  const auto bytes = std::as_bytes(std::span(data, count));
  const std::string_view header(reinterpret_cast<const char*>(data), count);
  try {
    safetensors_test::read_all({bytes.begin(), bytes.end()});
    safetensors_test::read_all(safetensors_test::file_of(header, "0123456789abcdef"));
  } catch (const safetensors_test::Broken& broken) {
    std::fprintf(stderr, "%s\n", broken.what());
    std::abort();
  }
  return 0;
}
