// SPDX-License-Identifier: MIT
//
// safetensors files: numbers as they were written, and for every wrong file one sentence.
#include <posenc/safetensors/file.hpp>

#include "../support/catch.hpp"
#include "read_all.hpp"

#include <array>
#include <cmath>

using namespace posenc;

namespace safetensors_cases {

using safetensors_test::file_of, safetensors_test::read_all;

TEST_CASE("safetensors: numbers of the three types, by rows") {
  // 1, -2, 0.5 and 65504 or 3.39e38, as the formats have them.
  const std::string data = std::string("\x00\x3c\x00\xc0\x00\x38\xff\x7b", 8) +  // F16
                           std::string("\x80\x3f\x00\xc0\x00\x3f\x7f\x7f", 8) +  // BF16
                           std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0", 8);   // F32
  const auto bytes = file_of(R"({"__metadata__":{"format":"pt"},
      "h":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},
      "b":{"dtype":"BF16","shape":[4],"data_offsets":[8,16]},
      "f":{"dtype":"F32","shape":[2,1,1],"data_offsets":[16,24]},
      "empty":{"dtype":"F32","shape":[0,3],"data_offsets":[24,24]}})",
                             data);
  const auto file = safetensors::File::from_bytes(bytes);
  REQUIRE(file.tensors().size() == 4);
  const auto tensor = [&](const std::string& name) {
    for (const safetensors::Tensor& one : file.tensors())
      if (one.name == name) return one;
    throw std::out_of_range(name);
  };
  std::array<float, 4> four{};
  safetensors::read_rows(tensor("h"), 0, 2, four);
  CHECK(four == std::array<float, 4>{1, -2, 0.5F, 65504});
  std::array<float, 2> row{};
  safetensors::read_rows(tensor("h"), 1, 1, row);
  CHECK(row == std::array<float, 2>{0.5F, 65504});
  safetensors::read_rows(tensor("b"), 0, 1, four);
  CHECK(four[2] == 0.5F);
  CHECK(four[3] == std::ldexp(255.0F, 120));
  safetensors::read_rows(tensor("f"), 0, 2, row);
  CHECK(row == std::array<float, 2>{1, -2});
  CHECK(tensor("empty").elements() == 0);
  CHECK_THROWS_WITH(safetensors::read_rows(tensor("h"), 1, 2, four),
                    ContainsSubstring("which has 2."));
  CHECK_THROWS_WITH(safetensors::read_rows(tensor("h"), 0, 1, four),
                    ContainsSubstring("and out has 4."));
  safetensors::Tensor other = tensor("h");
  other.type = "I16";
  CHECK_THROWS_WITH(safetensors::read_rows(other, 0, 2, four),
                    ContainsSubstring("is stored as \"I16\"; only F32"));
  // Bytes of your own, with a shape that nobody has checked.
  constexpr Index half = Index{1} << 62;
  for (const std::vector<Index>& shape : std::vector<std::vector<Index>>{
           {half, 4}, {0, half, half}, {half, half, half, half}, {-2, -2}}) {
    other = tensor("h"), other.shape = shape;
    CHECK_THROWS_WITH(safetensors::read_rows(other, 0, 2, four),
                      ContainsSubstring("a negative axis or of more bytes than can be counted"));
  }
}

TEST_CASE("safetensors: types that are listed and not read") {
  const auto bytes = file_of(R"({"e":{"dtype":"F8_E8M0","shape":[8],"data_offsets":[0,8]},
      "c":{"dtype":"C64","shape":[1],"data_offsets":[8,16]}})",
                             "0123456789abcdef");
  const auto file = safetensors::File::from_bytes(bytes);
  REQUIRE(file.tensors().size() == 2);
  for (const safetensors::Tensor& tensor : file.tensors()) {
    std::vector<float> out(static_cast<std::size_t>(tensor.elements()));
    CHECK_THROWS_WITH(safetensors::read_rows(tensor, 0, 1, out),
                      ContainsSubstring("is stored as \"" + tensor.type + "\"; only F32"));
  }
}

TEST_CASE("safetensors: of a folder with both model.safetensors counts, and not the index") {
  const auto folder = std::filesystem::temp_directory_path() / "posenc-safetensors-both";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto bytes =
      file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "12345678");
  std::ofstream(folder / "model.safetensors.index.json") << R"({"weight_map":{"b":"gone"}})";
  CHECK_THROWS_AS(safetensors::Model(folder), Error);
  std::ofstream(folder / "model.safetensors", std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  CHECK(safetensors::Model(folder).find_tensor("a") != nullptr);
  std::filesystem::remove_all(folder);
}

TEST_CASE("safetensors: the limit of a text and its words are the caller's") {
  Problems problems;
  static_cast<void>(file::parse_text("[1, 2]", problems, {.bytes = 5, .what = "header"}));
  CHECK(problems.sentences() ==
        std::vector<std::string>{"the file has more than 5 bytes, which no header needs."});
  Problems none;
  CHECK(file::parse_text("[1, 2]", none, {.bytes = 6, .what = "header"}).size() == 2);
  CHECK(none.empty());
}

TEST_CASE("safetensors: a header that is wrong is a sentence") {
  const auto says = [](const std::string& header, const std::string& sentence) {
    INFO(header);
    CHECK_THAT(read_all(file_of(header, "12345678")), ContainsSubstring(sentence));
  };
  const auto tensor = [](const std::string& type, const std::string& shape,
                         const std::string& offsets) {
    return R"({"t":{"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}}";
  };
  CHECK(read_all(file_of(tensor("F32", "[2]", "[0,8]"), "12345678")).empty());
  says(tensor("F31", "[2]", "[0,8]"), "tensor \"t\" has the dtype");
  says(tensor("F32", "[3]", "[0,8]"), "takes 12 bytes as F32, and its data_offsets leave 8.");
  says(tensor("F32", "[2]", "[8,0]"),
       "has the data_offsets 8 and 0; they must rise within the 8 bytes");
  says(tensor("F32", "[2]", "[0,9]"), "has the data_offsets 0 and 9");
  says(tensor("F32", "[2]", "[0,18446744073709551615]"), "which is no count.");
  says(tensor("F32", "[2]", "[-1,7]"), "which is no count.");
  says(tensor("F32", "[2.0]", "[0,8]"), "which is no count.");
  says(tensor("F32", "[4611686018427387904,4]", "[0,8]"), "more bytes than can be counted.");
  says(tensor("F32", "[0,9223372036854775807,9223372036854775807]", "[0,0]"),
       "more bytes than can be counted.");
  says(tensor("F32", "2", "[0,8]"), "must have a list as shape and two data_offsets.");
  says(tensor("F32", "[2]", "[0,4,8]"), "must have a list as shape and two data_offsets.");
  says(tensor("F32", "[1]", "[0,4]"), "the tensors end at byte 4 of 8: the rest belongs to none.");
  says(tensor("F32", "[1]", "[4,8]"), "begins at byte 4, and the tensors before it end at byte 0");
  says(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      "they must neither overlap nor leave gaps.");
  says(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      "stands twice");
  says(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", "tensor \"a\" lacks dtype.");
  says(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", "tensor \"a\" lacks shape.");
  says(R"({"a":{"dtype":"F32","shape":[2]}})", "tensor \"a\" lacks data_offsets.");
  says(R"({"a":[]})", "must be an object, got");
  says("[]", "the header must be an object.");
  says("{", "not JSON");
  says(std::string(100, '['), "nested deeper");
  says("{}", "the tensors end at byte 0 of 8");
}

TEST_CASE(
    "safetensors: a file that is cut or has a wrong byte is refused, or read as what it says") {
  const auto whole = file_of(R"({"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},
      "b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
                             "0123456789abcdef");
  REQUIRE(read_all(whole).empty());
  for (std::size_t count = 0; count < whole.size(); ++count) {
    INFO("after " << count << " bytes");
    REQUIRE(!read_all({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(count)}).empty());
  }
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const int flip : {1, 2, 4, 8, 16, 32, 64, 128}) {
      std::vector<std::byte> wrong = whole;
      wrong[at] ^= static_cast<std::byte>(flip);
      INFO("byte " << at << ", flip " << flip);
      REQUIRE_NOTHROW(refused += !read_all(wrong).empty());
    }
  CHECK(refused > 300);
}

}  // namespace safetensors_cases
