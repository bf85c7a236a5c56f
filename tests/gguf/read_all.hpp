// SPDX-License-Identifier: MIT
//
// Asks a file everything that can be asked. Whatever its bytes, the only thing that may be thrown is an Error of
// one short printable sentence.
#pragma once

#include <posenc/gguf/dequantise.hpp>
#include <posenc/gguf/file.hpp>

#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace gguf_test {

/// Thrown where a promise is broken.
struct Broken : std::logic_error {
  using std::logic_error::logic_error;
};

inline void check_sentence(const posenc::Error& error) {
  if (error.problems().size() != 1) throw Broken("an Error of several sentences");
  const std::string& sentence = error.problems().front();
  if (sentence.size() > 400) throw Broken("a long sentence: " + sentence);
  for (const char c : sentence)
    if (c < 0x20 || c > 0x7e) throw Broken("a sentence that is not printable: " + sentence);
}

/// The sentence of the Error that a call throws, empty where it throws none.
template <class Call>
std::string sentence_of(const Call& call) {
  try {
    call();
  } catch (const posenc::Error& error) {
    check_sentence(error);
    return error.problems().front();
  }
  return {};
}

inline void read_tensor(const posenc::gguf::Tensor& tensor, std::span<const std::byte> bytes) {
  if (!tensor.data.empty() &&
      (tensor.data.data() < bytes.data() ||
       tensor.data.data() + tensor.data.size() > bytes.data() + bytes.size()))
    throw Broken("a tensor outside the file");
  const auto all = [&] { return posenc::gguf::dequantise(tensor); };
  if (!sentence_of(all).empty()) return;
  const std::vector<float> whole = all();
  std::vector<float> last(static_cast<std::size_t>(tensor.row_length()));
  posenc::gguf::dequantise(tensor, tensor.rows() - 1, 1, last);
  if (std::memcmp(last.data(), &whole[whole.size() - last.size()], last.size() * sizeof(float)) !=
      0)
    throw Broken("a row that differs from the row of the whole");
}

/// The sentence for which the bytes are no file, or nothing, after all of it was read.
inline std::string read_all(std::span<const std::byte> bytes) {
  return sentence_of([&] {
    const posenc::gguf::File file = posenc::gguf::File::from_bytes(bytes);
    for (const std::string& key : file.keys()) {
      if (!file.has(key)) throw Broken("a key that is not there");
      int answers = 0;
      const auto ask = [&](const auto& question) { answers += sentence_of(question).empty(); };
      ask([&] { static_cast<void>(file.integer(key)); });
      ask([&] { static_cast<void>(file.real(key)); });
      ask([&] { static_cast<void>(file.boolean(key)); });
      ask([&] { static_cast<void>(file.text(key)); });
      ask([&] { static_cast<void>(file.texts(key)); });
      ask([&] { static_cast<void>(file.reals(key)); });
      if (answers > 1) throw Broken("a value of two types");
    }
    for (const posenc::gguf::Tensor& tensor : file.tensors()) {
      if (file.find_tensor(tensor.name) != &tensor) throw Broken("a tensor that is not found");
      read_tensor(tensor, bytes);
    }
  });
}

}  // namespace gguf_test
