// SPDX-License-Identifier: MIT
//
// Files that are wrong. Each ends in one sentence that says what, and nothing is read outside of their bytes:
// every file here is a vector of its own, whose ends the address sanitizer watches.
#include <posenc/gguf/file.hpp>

#include "../support/catch.hpp"
#include "read_all.hpp"
#include "writer.hpp"

#include <limits>
#include <optional>
#include <string>
#include <vector>

using namespace posenc;

namespace hostile_cases {

using namespace gguf_test;

constexpr std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();

/// A file of one key.
std::string of_key(std::uint32_t type, const Bytes& value, std::string_view name = "k") {
  return read_all(Writer().key(name, type, value).file());
}

/// A file of one tensor, with data of 64 bytes.
std::string of_tensor(const std::vector<std::uint64_t>& shape, std::uint32_t type,
                      std::optional<std::uint64_t> offset = {}) {
  return read_all(
      Writer().tensor("t", shape, type, Bytes().raw(std::string(64, 'x')), offset).file());
}

TEST_CASE("gguf: a file that is cut anywhere is refused") {
  const std::vector<std::byte> whole = small_file().file();
  REQUIRE(read_all(whole).empty());
  for (std::size_t count = 0; count < whole.size(); ++count) {
    const std::vector<std::byte> cut(whole.begin(),
                                     whole.begin() + static_cast<std::ptrdiff_t>(count));
    INFO("after " << count << " of " << whole.size() << " bytes");
    REQUIRE(!read_all(cut).empty());
  }
}

TEST_CASE("gguf: a file in which any byte is wrong is refused or read as what it says") {
  const std::vector<std::byte> whole = small_file().file();
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const int flip : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      std::vector<std::byte> wrong = whole;
      wrong[at] ^= static_cast<std::byte>(flip);
      INFO("byte " << at << ", flip " << flip);
      REQUIRE_NOTHROW(refused += !read_all(wrong).empty());
    }
  CHECK(refused > 500);
}

TEST_CASE("gguf: magic and version") {
  std::vector<std::byte> bytes = small_file().file();
  bytes[3] = std::byte{'\n'};
  CHECK(read_all(bytes) == "this is no GGUF file: it begins with \"GGU\\x0a\", not with \"GGUF\".");
  Writer writer = small_file();
  for (const std::uint32_t version : {0U, 1U, 4U, 0xffffffffU}) {
    writer.version = version;
    CHECK(read_all(writer.file()) ==
          "the file has version " + std::to_string(version) + "; versions 2 and 3 can be read.");
  }
  writer.version = 0x03000000;
  CHECK(read_all(writer.file()) ==
        "the file is big endian (its version reads as 50331648); only little endian files can be "
        "read.");
}

TEST_CASE("gguf: counts beyond the file") {
  Writer writer = small_file();
  writer.key_count = huge;
  CHECK_THAT(read_all(writer.file()),
             StartsWith("the file announces 18446744073709551615 keys and 2 tensors"));
  writer.key_count.reset();
  writer.tensor_count = huge / 32;
  CHECK_THAT(read_all(writer.file()), ContainsSubstring("7 keys and 576460752303423487 tensors"));
  writer.tensor_count = 3;
  CHECK(!read_all(writer.file()).empty());
}

TEST_CASE("gguf: lengths of strings beyond the file") {
  for (const std::uint64_t length : {std::uint64_t{9}, huge, huge - 7, std::uint64_t{1} << 63}) {
    CHECK(of_key(text, Bytes().number(length).raw("ab")) ==
          "the file ends within key \"k\": " + std::to_string(length) +
              " bytes are needed from byte 45 on, and the file has 47.");
    const Bytes key =
        Bytes().raw("GGUF").number(3U).number(std::uint64_t{0}).number(std::uint64_t{1});
    CHECK_THAT(read_all(Bytes(key).number(length).raw(std::string(8, 'k')).all()),
               StartsWith("the file ends within the"));
    CHECK_THAT(of_key(array, array_of(text, 1, Bytes().number(length).raw("ab"))),
               StartsWith("the file ends within key \"k\""));
  }
}

TEST_CASE("gguf: arrays: counts, types, depth") {
  CHECK(of_key(array, array_of(f64, huge / 8 + 2, Bytes().number(1.0))) ==
        "key \"k\" has 2305843009213693953 elements of at least 8 bytes each, and the file has 8 "
        "bytes left.");
  CHECK_THAT(of_key(array, array_of(u8, huge)), StartsWith("key \"k\" has 18446744073709551615"));
  CHECK_THAT(of_key(array, array_of(text, huge)), StartsWith("key \"k\" has 18446744073709551615"));
  CHECK_THAT(of_key(array, array_of(array, huge)), StartsWith("key \"k\" has 1844674407370955161"));
  CHECK(of_key(array, array_of(13, 1)) == "key \"k\" has the type 13; types are numbered 0 to 12.");
  CHECK(of_key(99, Bytes().number(1.0)) ==
        "key \"k\" has the type 99; types are numbered 0 to 12.");
  const auto nested = [](int depth) {
    Bytes value;
    for (int i = 1; i < depth; ++i) value.append(array_of(array, 1));
    return of_key(array, value.append(array_of(u8, 1, Bytes().number(std::uint8_t{1}))));
  };
  CHECK(nested(4).empty());
  for (const int depth : {5, 6, 100'000})
    CHECK(nested(depth) == "key \"k\" nests arrays deeper than 4.");
}

TEST_CASE("gguf: booleans are 0 or 1") {
  CHECK(of_key(boolean, Bytes().raw("\x02")) ==
        "key \"k\" has a boolean of 2; only 0 and 1 are possible.");
  CHECK(of_key(array, array_of(boolean, 2, Bytes().raw("\x01\xff"))) ==
        "key \"k\" has a boolean of 255; only 0 and 1 are possible.");
}

TEST_CASE("gguf: two keys or two tensors of one name") {
  Writer keys;
  keys.key("a", u8, std::uint8_t{1}).key("b", u8, std::uint8_t{1}).key("a", f32, 2.0F);
  CHECK(read_all(keys.file()) == "the file has two keys of the name \"a\".");
  Writer tensors;
  tensors.tensor("a", {1}, 0, floats({1})).tensor("b", {1}, 0, floats({1}));
  tensors.tensor("a", {1}, 0, floats({1}));
  CHECK(read_all(tensors.file()) == "the file has two tensors of the name \"a\".");
}

TEST_CASE("gguf: offsets of tensors") {
  CHECK(of_tensor({16}, 0, 0).empty());
  CHECK(of_tensor({8}, 0, 32).empty());
  CHECK(of_tensor({8}, 0, 4) ==
        "tensor \"t\" has the offset 4, which is no multiple of the alignment 32.");
  CHECK(of_tensor({9}, 0, 32) ==
        "tensor \"t\" needs 36 bytes from offset 32 on, and the file has 64 bytes of tensors.");
  for (const std::uint64_t offset : {std::uint64_t{64}, std::uint64_t{96}, huge - 31})
    CHECK(of_tensor({1}, 0, offset) == "tensor \"t\" needs 4 bytes from offset " +
                                           std::to_string(offset) +
                                           " on, and the file has 64 bytes of tensors.");
  CHECK(of_tensor({1}, 99, 64) ==
        "tensor \"t\" needs some bytes from offset 64 on, and the file has 64 bytes of tensors.");
}

TEST_CASE("gguf: shapes") {
  CHECK(of_tensor({}, 0) == "tensor \"t\" has 0 axes; 1 to 4 are possible.");
  CHECK(of_tensor({1, 1, 1, 1, 1}, 0) == "tensor \"t\" has 5 axes; 1 to 4 are possible.");
  CHECK(of_tensor({4, 0, 4}, 0) ==
        "tensor \"t\" has the shape [4, 0, 4]; every axis must be positive.");
  CHECK(of_tensor({0, std::uint64_t{1} << 62, std::uint64_t{1} << 62}, 0).find("positive") !=
        std::string::npos);
  CHECK(of_tensor({huge}, 0) ==
        "tensor \"t\" has an axis of 18446744073709551615 elements, more than can be counted.");
  const std::uint64_t half = std::uint64_t{1} << 32;
  CHECK(of_tensor({half, half}, 0) ==
        "tensor \"t\" has the shape [4294967296, 4294967296], whose product overflows.");
  CHECK_THAT(of_tensor({1, half, half}, 99), EndsWith("whose product overflows."));
  CHECK_THAT(of_tensor({half, half / 4}, 0), EndsWith("takes more bytes than can be counted."));
  CHECK_THAT(of_tensor({half, half / 16}, 0),
             StartsWith("tensor \"t\" needs 4611686018427387904 bytes"));
  CHECK(
      of_tensor({48}, 3) ==
      "tensor \"t\" has rows of 48 elements, which is no multiple of the 32 elements of a block of "
      "Q4_1.");
  CHECK_THAT(of_tensor({32, 8}, 12), EndsWith("the 256 elements of a block of Q4_K."));
}

TEST_CASE("gguf: alignments") {
  const auto of_alignment = [](std::uint32_t type, const Bytes& value) {
    return read_all(
        Writer().key("general.alignment", type, value).tensor("t", {1}, 0, floats({1})).file());
  };
  CHECK(of_alignment(u32, Bytes().number(32U)).empty());
  CHECK(of_alignment(u64, Bytes().number(std::uint64_t{32})).empty());
  for (const std::uint32_t alignment : {0U, 3U, 24U, 33U})
    CHECK(of_alignment(u32, Bytes().number(alignment)) == "key \"general.alignment\" is " +
                                                              std::to_string(alignment) +
                                                              "; it must be a power of two.");
  CHECK_THAT(of_alignment(i32, Bytes().number(-32)),
             EndsWith("is -32; it must be a power of two."));
  CHECK_THAT(of_alignment(u64, Bytes().number(std::uint64_t{1} << 63)),
             EndsWith("exceeds what int64 can hold."));
  CHECK_THAT(of_alignment(u64, Bytes().number(std::uint64_t{1} << 62)),
             StartsWith("the file ends before the tensors' bytes, which begin at byte 4611686018"));
  CHECK(of_alignment(f32, Bytes().number(32.0F)) ==
        "key \"general.alignment\" is of the type float32 and was asked for as an integer.");
  // Also where there are no tensors to align.
  CHECK(!read_all(Writer().key("general.alignment", u32, 0U).file()).empty());
}

TEST_CASE("gguf: sentences echo no more than a line of the file, and no control characters") {
  const std::string name = std::string(10'000, 'n') + "\x1b[2J\xff";
  const std::string sentence = of_key(99, Bytes(), name);
  CHECK(sentence.size() < 150);
  CHECK_THAT(sentence, StartsWith("key \"nnnn") && ContainsSubstring("n...\""));
  CHECK_THAT(of_key(99, Bytes(), "\x1b[2J\xff\"\\"),
             StartsWith("key \"\\x1b[2J\\xff\\x22\\x5c\" has the type 99"));
}

TEST_CASE("gguf: many keys take time in proportion") {
  Writer writer;
  for (std::uint32_t i = 0; i < 100'000; ++i) writer.key("key." + std::to_string(i), u32, i);
  const std::vector<std::byte> bytes = writer.file();
  const gguf::File file = gguf::File::from_bytes(bytes);
  CHECK(file.integer("key.99999") == 99'999);
}

}  // namespace hostile_cases
