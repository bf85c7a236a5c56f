// SPDX-License-Identifier: MIT
//
// Asks a safetensors file everything that can be asked. Whatever its bytes, the only thing that may
// be thrown is an Error of one short printable sentence.
#pragma once

#include <posenc/safetensors/file.hpp>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace safetensors_test {

/// Thrown where a promise is broken.
struct Broken : std::logic_error {
  using std::logic_error::logic_error;
};

/// A header behind its length, and the tensors' bytes.
inline std::vector<std::byte> file_of(std::string_view header, std::string_view data) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < 8; ++i)
    bytes.push_back(static_cast<std::byte>(header.size() >> (8 * i) & 255));
  for (const std::string_view part : {header, data})
    for (const char c : part) bytes.push_back(static_cast<std::byte>(c));
  return bytes;
}

/// The sentence for which the bytes are no file, or nothing, after all of it was read.
inline std::string read_all(const std::vector<std::byte>& bytes) {
  try {
    const auto file = posenc::safetensors::File::from_bytes(bytes);
    for (const posenc::safetensors::Tensor& tensor : file.tensors()) {
      if (tensor.data.data() < bytes.data() ||
          tensor.data.data() + tensor.data.size() > bytes.data() + bytes.size())
        throw Broken("a tensor outside the file");
      if (tensor.type != "F32" && tensor.type != "F16" && tensor.type != "BF16") continue;
      std::vector<float> numbers(static_cast<std::size_t>(tensor.elements()));
      posenc::safetensors::read_rows(tensor, 0, tensor.rows(), numbers);
    }
  } catch (const posenc::Error& error) {
    if (error.problems().size() != 1) throw Broken("an Error of several sentences");
    const std::string& sentence = error.problems().front();
    if (sentence.size() > 400) throw Broken("a long sentence: " + sentence);
    for (const char c : sentence)
      if (c < 0x20 || c > 0x7e) throw Broken("a sentence that is not printable: " + sentence);
    return sentence;
  }
  return {};
}

}  // namespace safetensors_test
