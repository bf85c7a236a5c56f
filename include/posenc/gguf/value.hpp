// SPDX-License-Identifier: MIT
//
// Values of a file's metadata: numbers, booleans, strings, and arrays of these. Reading one checks that all of
// it lies within the file and remembers where; nothing is copied, however long an array claims to be.
//
// Numbers of the types: ggml-org/ggml, docs/gguf.md.
#pragma once

#include <posenc/gguf/cursor.hpp>

#include <string>

POSENC_NAMESPACE_BEGIN

namespace gguf::detail {

enum class ValueType : std::uint32_t {
  uint8,
  int8,
  uint16,
  int16,
  uint32,
  int32,
  float32,
  boolean,
  text,
  array,
  uint64,
  int64,
  float64,
};

inline constexpr std::uint32_t value_types = 13;

/// The fewest bytes that a value takes: of numbers and booleans all of them, of a string its length, of an array
/// the type and the count of its elements.
[[nodiscard]] constexpr std::uint64_t least_bytes(ValueType type) {
  constexpr std::uint8_t bytes[value_types] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  return bytes[static_cast<std::uint32_t>(type)];
}

[[nodiscard]] constexpr std::string_view name_of(ValueType type) {
  constexpr std::string_view names[value_types] = {"uint8",  "int8",  "uint16",  "int16",
                                                   "uint32", "int32", "float32", "boolean",
                                                   "string", "array", "uint64",  "int64",
                                                   "float64"};
  return names[static_cast<std::uint32_t>(type)];
}

[[nodiscard]] constexpr bool is_real(ValueType type) {
  return type == ValueType::float32 || type == ValueType::float64;
}
[[nodiscard]] constexpr bool is_integer(ValueType type) {
  return !is_real(type) && type != ValueType::boolean && type != ValueType::text &&
         type != ValueType::array;
}

/// Where a value lies.
struct Value {
  ValueType type{};
  ValueType element{};      ///< of an array
  std::uint64_t count = 0;  ///< of an array's elements
  /// The number's bytes, the string's without its length, or the array's elements as they are stored.
  std::span<const std::byte> bytes{};

  [[nodiscard]] std::string written_type() const {
    return type == ValueType::array ? "array of " + std::string(name_of(element))
                                    : std::string(name_of(type));
  }
};

inline ValueType read_type(Cursor& file, const Place& place) {
  const auto type = file.number<std::uint32_t>(place);
  if (type >= value_types)
    fail(reader, place.written(), " has the type ", type, "; types are numbered 0 to ",
         value_types - 1, ".");
  return static_cast<ValueType>(type);
}

inline void check_booleans(std::span<const std::byte> bytes, const Place& place) {
  for (const std::byte byte : bytes)
    if (byte > std::byte{1})
      fail(reader, place.written(), " has a boolean of ", std::to_integer<int>(byte),
           "; only 0 and 1 are possible.");
}

/// Passes over a value of this type. Arrays within arrays are followed to a depth of four: each has at
/// least 12 bytes of its own, so this takes no longer than the file is long.
inline Value read_value(Cursor& file, ValueType type, const Place& place, int depth = 0) {
  constexpr int deepest = 4;
  if (type == ValueType::text) {
    const std::string_view text = file.text(place);
    return {.type = type, .bytes = std::as_bytes(std::span(text))};
  }
  if (type != ValueType::array) {
    const Value value{.type = type, .bytes = file.take(least_bytes(type), place)};
    if (type == ValueType::boolean) check_booleans(value.bytes, place);
    return value;
  }
  if (depth == deepest) fail(reader, place.written(), " nests arrays deeper than ", deepest, ".");
  Value array{.type = type, .element = read_type(file, place)};
  array.count = file.number<std::uint64_t>(place);
  const std::uint64_t each = least_bytes(array.element);
  if (array.count > file.left() / each)
    fail(reader, place.written(), " has ", array.count, " elements of at least ", each,
         " bytes each, and the file has ", file.left(), " bytes left.");
  if (array.element == ValueType::text || array.element == ValueType::array) {
    Cursor elements = file;
    for (std::uint64_t i = 0; i < array.count; ++i)
      read_value(file, array.element, place, depth + 1);
    array.bytes = elements.take(file.at() - elements.at(), place);
  } else {
    array.bytes = file.take(array.count * each, place);
    if (array.element == ValueType::boolean) check_booleans(array.bytes, place);
  }
  return array;
}

/// A number or a boolean of so many bytes as its type has, in the type that holds it.
template <class Call>
auto with_number(ValueType type, const std::byte* bytes, const Call& call) {
  switch (type) {
    case ValueType::int8:
      return call(load<std::int8_t>(bytes));
    case ValueType::uint16:
      return call(load<std::uint16_t>(bytes));
    case ValueType::int16:
      return call(load<std::int16_t>(bytes));
    case ValueType::uint32:
      return call(load<std::uint32_t>(bytes));
    case ValueType::int32:
      return call(load<std::int32_t>(bytes));
    case ValueType::uint64:
      return call(load<std::uint64_t>(bytes));
    case ValueType::int64:
      return call(load<std::int64_t>(bytes));
    case ValueType::float32:
      return call(load<float>(bytes));
    case ValueType::float64:
      return call(load<double>(bytes));
    default:
      return call(load<std::uint8_t>(bytes));
  }
}

}  // namespace gguf::detail

POSENC_NAMESPACE_END
