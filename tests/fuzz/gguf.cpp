// SPDX-License-Identifier: MIT
//
// A fuzzer's bytes as a GGUF file: as they are, and behind a valid beginning, which saves it from finding that.
// Everything is asked of what is read; see tests/gguf/read_all.hpp.
#include "../gguf/read_all.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

/// Magic, version 3, up to three tensors and seven keys; then the bytes.
std::vector<std::byte> with_beginning(std::span<const std::byte> bytes) {
  std::vector<std::byte> file(24);
  const char beginning[] = {'G', 'G', 'U', 'F', 3};
  std::copy_n(reinterpret_cast<const std::byte*>(beginning), sizeof(beginning), file.begin());
  if (!bytes.empty()) {
    file[8] = bytes.front() & std::byte{3};
    file[16] = bytes.front() >> 2 & std::byte{7};
    file.insert(file.end(), bytes.begin() + 1, bytes.end());
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t count) {
  const auto bytes = std::as_bytes(std::span(data, count));
  try {
    gguf_test::read_all(bytes);
    gguf_test::read_all(with_beginning(bytes));
  } catch (const gguf_test::Broken& broken) {
    std::fprintf(stderr, "%s\n", broken.what());
    std::abort();
  }
  return 0;
}
