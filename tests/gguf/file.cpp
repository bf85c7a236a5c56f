// SPDX-License-Identifier: MIT
//
// Files that are right: what they say is what was written, from memory and from a disk.
#include <posenc/gguf/file.hpp>

#include "../support/catch.hpp"
#include "read_all.hpp"
#include "writer.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using namespace posenc;

namespace file_cases {

using namespace gguf_test;
using gguf::File;

TEST_CASE("gguf: a file says what was written, in its order") {
  const std::vector<std::byte> bytes = small_file().file();
  const File file = File::from_bytes(bytes);
  CHECK(file.keys() == std::vector<std::string>{"general.architecture", "llama.block_count",
                                                "llama.rope.freq_base", "flag", "words", "nested",
                                                "factors"});
  CHECK(file.text("general.architecture") == "llama");
  CHECK(file.integer("llama.block_count") == 30);
  CHECK(file.real("llama.rope.freq_base") == 10000.0);
  CHECK(file.boolean("flag") == true);
  CHECK(file.texts("words") == std::vector<std::string_view>{"a", "", "ccc"});
  CHECK(file.reals("factors") == std::vector<double>{0.5, -3});
  CHECK(file.has("nested"));

  REQUIRE(file.tensors().size() == 2);
  const gguf::Tensor &norm = file.tensors()[0], &weights = file.tensors()[1];
  CHECK(norm.name == "norm");
  CHECK(norm.shape == std::vector<Index>{3});
  CHECK(norm.rows() == 1);
  CHECK(norm.data.size() == 12);
  CHECK(weights.type == gguf::Type::q4_0);
  CHECK(weights.shape == std::vector<Index>{32, 2});
  CHECK(weights.row_length() == 32);
  CHECK(weights.rows() == 2);
  CHECK(weights.elements() == 64);
  CHECK(weights.data.data() + weights.data.size() == bytes.data() + bytes.size());
  CHECK(&file.tensor("weights") == &weights);
  CHECK(file.find_tensor("weight") == nullptr);
  CHECK(gguf::dequantise(norm) == std::vector<float>{1, 2, 3});
  CHECK(read_all(bytes).empty());
}

TEST_CASE("gguf: what is absent is nothing, and an absent tensor an error") {
  const std::vector<std::byte> bytes = small_file().file();
  const File file = File::from_bytes(bytes);
  CHECK(!file.has("x"));
  CHECK(!file.integer("x"));
  CHECK(!file.real("x"));
  CHECK(!file.boolean("x"));
  CHECK(!file.text("x"));
  CHECK(file.texts("x").empty());
  CHECK(file.reals("x").empty());
  CHECK(sentence_of([&] { static_cast<void>(file.tensor("x")); }) ==
        "none of the file's 2 tensors has the name \"x\".");
}

TEST_CASE("gguf: integers of every type, and arrays of all numbers") {
  Writer writer;
  writer.key("u8", u8, std::uint8_t{200}).key("i8", i8, std::int8_t{-100});
  writer.key("u16", u16, std::uint16_t{60000}).key("i16", i16, std::int16_t{-30000});
  writer.key("u32", u32, 4'000'000'000U).key("i32", i32, -2'000'000'000);
  writer.key("u64", u64, std::uint64_t{1} << 62).key("i64", i64, std::int64_t{-1} << 62);
  writer.key("f64", f64, 0.1).key("too much", u64, std::uint64_t{1} << 63);
  writer.key("bytes", array, array_of(i8, 2, Bytes().raw("\xff\x02")));
  writer.key("wide", array, array_of(u64, 1, Bytes().number(std::uint64_t{1} << 63)));
  writer.key("flags", array, array_of(boolean, 3, Bytes().raw(std::string_view("\1\0\1", 3))));
  writer.key("none", array, array_of(f32, 0));
  const std::vector<std::byte> bytes = writer.file();
  const File file = File::from_bytes(bytes);
  CHECK(file.integer("u8") == 200);
  CHECK(file.integer("i8") == -100);
  CHECK(file.integer("u16") == 60000);
  CHECK(file.integer("i16") == -30000);
  CHECK(file.integer("u32") == 4'000'000'000);
  CHECK(file.integer("i32") == -2'000'000'000);
  CHECK(file.integer("u64") == std::int64_t{1} << 62);
  CHECK(file.integer("i64") == -(std::int64_t{1} << 62));
  CHECK(file.real("f64") == 0.1);
  CHECK(sentence_of([&] { static_cast<void>(file.integer("too much")); }) ==
        "key \"too much\" is 9223372036854775808, which exceeds what int64 can hold.");
  CHECK(file.reals("bytes") == std::vector<double>{-1, 2});
  CHECK(file.reals("wide") == std::vector<double>{0x1p63});
  CHECK(file.reals("flags") == std::vector<double>{1, 0, 1});
  CHECK(file.reals("none").empty());
  CHECK(file.tensors().empty());
}

TEST_CASE("gguf: a question for another type names the key and both types") {
  const std::vector<std::byte> bytes = small_file().file();
  const File file = File::from_bytes(bytes);
  CHECK(sentence_of([&] { static_cast<void>(file.integer("llama.rope.freq_base")); }) ==
        "key \"llama.rope.freq_base\" is of the type float32 and was asked for as an integer.");
  CHECK(sentence_of([&] { static_cast<void>(file.real("llama.block_count")); }) ==
        "key \"llama.block_count\" is of the type uint32 and was asked for as a floating-point "
        "number.");
  CHECK(sentence_of([&] { static_cast<void>(file.boolean("words")); }) ==
        "key \"words\" is of the type array of string and was asked for as a boolean.");
  CHECK(sentence_of([&] { static_cast<void>(file.text("flag")); }) ==
        "key \"flag\" is of the type boolean and was asked for as a string.");
  CHECK(sentence_of([&] { static_cast<void>(file.texts("factors")); }) ==
        "key \"factors\" is of the type array of float64 and was asked for as an array of string.");
  CHECK(sentence_of([&] { static_cast<void>(file.reals("nested")); }) ==
        "key \"nested\" is of the type array of array and was asked for as an array of numbers.");
  CHECK(!sentence_of([&] { static_cast<void>(file.integer("flag")); }).empty());
}

TEST_CASE("gguf: version 2, other alignments, bytes of any alignment") {
  Writer writer = small_file();
  writer.version = 2;
  CHECK(read_all(writer.file()).empty());
  for (const std::size_t alignment : {1U, 2U, 8U, 64U, 4096U}) {
    Writer aligned;
    aligned.alignment = alignment;
    aligned.key("general.alignment", u32, static_cast<std::uint32_t>(alignment));
    aligned.tensor("a", {3}, 0, floats({1, 2, 3})).tensor("b", {1, 2, 1, 1}, 0, floats({4, 5}));
    std::vector<std::byte> bytes = aligned.file();
    bytes.insert(bytes.begin(), std::byte{0});
    const File file = File::from_bytes(std::span(bytes).subspan(1));
    INFO("alignment " << alignment);
    CHECK(gguf::dequantise(file.tensor("a")) == std::vector<float>{1, 2, 3});
    CHECK(gguf::dequantise(file.tensor("b")) == std::vector<float>{4, 5});
  }
}

TEST_CASE("gguf: a type that is not known is listed with all bytes that may be its own") {
  Writer writer;
  writer.tensor("a", {32}, 99, Bytes().raw("0123")).tensor("b", {1}, 0, floats({1}));
  writer.tensor("c", {7}, 5, Bytes().raw("01234"));
  const std::vector<std::byte> bytes = writer.file();
  const File file = File::from_bytes(bytes);
  CHECK(file.tensor("a").data.size() == 32);
  CHECK(file.tensor("c").data.size() == 5);
  CHECK(sentence_of([&] { static_cast<void>(gguf::dequantise(file.tensor("a"))); }) ==
        "tensor \"a\" is stored as type 99; only F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, "
        "Q4_K, Q5_K "
        "and Q6_K can be read.");
}

TEST_CASE("gguf: files on a disk are mapped, and their views outlive a move") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path(),
                              path = folder / "posenc_test_small.gguf";
  const std::vector<std::byte> bytes = small_file().file();
  const auto write = [&](std::size_t count) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(count));
  };
  write(bytes.size());
  {
    File first(path);
    const std::string_view name = *first.text("general.architecture");
    File second = std::move(first);
    const File third = File::from_bytes(bytes);
    CHECK(name == "llama");
    CHECK(gguf::dequantise(second.tensor("norm")) == std::vector<float>{1, 2, 3});
    second = File::from_bytes(bytes);
    CHECK(second.tensor("norm").data.data() == third.tensor("norm").data.data());
  }
  write(0);
  CHECK_THAT(sentence_of([&] { static_cast<void>(File(path)); }),
             StartsWith("the file ends within"));
  std::filesystem::remove(path);
  CHECK_THAT(sentence_of([&] { static_cast<void>(File(path)); }),
             ContainsSubstring("posenc_test_small.gguf") && ContainsSubstring("cannot be opened"));
  CHECK_THAT(sentence_of([&] { static_cast<void>(File(folder)); }),
             EndsWith("is no ordinary file."));
}

}  // namespace file_cases
