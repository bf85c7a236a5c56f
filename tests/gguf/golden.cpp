// SPDX-License-Identifier: MIT
//
// Blocks of every type and a whole file, as ggml's Python package gguf reads and writes them: bit for bit.
#if __has_include(<nlohmann/json.hpp>)

#include <posenc/gguf/dequantise.hpp>
#include <posenc/gguf/file.hpp>

#include "../support/catch.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <fstream>
#include <string>
#include <vector>

using namespace posenc;

namespace golden_gguf_cases {

nlohmann::json golden() {
  std::ifstream file(POSENC_GOLDEN_DIR "/gguf.json");
  REQUIRE(file);
  return nlohmann::json::parse(file);
}

/// So many hex digits for each number.
template <class T>
std::vector<T> from_hex(const std::string& text) {
  constexpr std::size_t digits = 2 * sizeof(T);
  std::vector<T> numbers;
  for (std::size_t at = 0; at < text.size(); at += digits)
    numbers.push_back(static_cast<T>(std::stoul(text.substr(at, digits), nullptr, 16)));
  return numbers;
}

std::vector<std::uint32_t> bits_of(const std::vector<float>& floats) {
  std::vector<std::uint32_t> bits(floats.size());
  std::transform(floats.begin(), floats.end(), bits.begin(),
                 [](float value) { return std::bit_cast<std::uint32_t>(value); });
  return bits;
}

TEST_CASE("golden: blocks of every type of GGUF tensors") {
  const nlohmann::json file = golden();
  REQUIRE(file.at("cases").size() == 11);
  for (const auto& entry : file.at("cases")) {
    const auto type = static_cast<gguf::Type>(entry.at("type").get<std::uint32_t>());
    INFO(entry.at("name"));
    CHECK(gguf::name_of(type) == entry.at("name").get<std::string>());
    const auto blocks = from_hex<std::uint8_t>(entry.at("blocks"));
    const gguf::Tensor tensor{.name = entry.at("name"),
                              .shape = entry.at("shape").get<std::vector<Index>>(),
                              .type = type,
                              .data = std::as_bytes(std::span(blocks))};
    const auto expected = from_hex<std::uint32_t>(entry.at("floats"));
    CHECK(bits_of(gguf::dequantise(tensor)) == expected);
    const Index length = tensor.row_length();
    std::vector<float> row(static_cast<std::size_t>(length));
    gguf::dequantise(tensor, 1, 1, row);
    CHECK(bits_of(row) ==
          std::vector<std::uint32_t>(expected.begin() + length, expected.begin() + 2 * length));
  }
}

TEST_CASE("golden: a GGUF file of another writer") {
  const nlohmann::json entry = golden().at("file");
  const auto bytes = from_hex<std::uint8_t>(entry.at("bytes"));
  const auto file = gguf::File::from_bytes(std::as_bytes(std::span(bytes)));
  CHECK(file.text("general.architecture") == "golden");
  CHECK(file.integer("general.alignment") == 64);
  for (const auto& [type, value] : entry.at("values").items()) {
    const std::string key = "value." + type;
    INFO(key);
    if (type == "bool")
      CHECK(file.boolean(key) == value.get<bool>());
    else if (type == "string")
      CHECK(file.text(key) == value.get<std::string>());
    else if (type.starts_with("float"))
      CHECK(file.real(key) == value.get<double>());
    else
      CHECK(file.integer(key) == value.get<std::int64_t>());
  }
  for (const auto& [key, value] : entry.at("arrays").items()) {
    INFO(key);
    if (value.front().is_string()) {
      const std::vector<std::string_view> texts = file.texts(key);
      CHECK(std::vector<std::string>(texts.begin(), texts.end()) ==
            value.get<std::vector<std::string>>());
    } else {
      std::vector<double> numbers;
      for (const auto& element : value)
        numbers.push_back(element.is_boolean() ? element.get<bool>() : element.get<double>());
      CHECK(file.reals(key) == numbers);
    }
  }
  REQUIRE(file.tensors().size() == entry.at("tensors").size());
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const auto& expected = entry.at("tensors")[i];
    const gguf::Tensor& tensor = file.tensors()[i];
    CHECK(tensor.name == expected.at("name").get<std::string>());
    CHECK(static_cast<std::uint32_t>(tensor.type) == expected.at("type").get<std::uint32_t>());
    CHECK(tensor.shape == expected.at("shape").get<std::vector<Index>>());
    CHECK(bits_of(gguf::dequantise(tensor)) == from_hex<std::uint32_t>(expected.at("floats")));
  }
}

}  // namespace golden_gguf_cases

#endif
