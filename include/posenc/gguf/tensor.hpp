// SPDX-License-Identifier: MIT
//
// A tensor as it lies in a GGUF file: its shape, how its numbers are stored, and its bytes.
//
// Numbers are stored in blocks: so many consecutive elements of a row in so many bytes. A block of F32 or F16
// is one element; a block of the quantised types is 32 or 256 elements that share scales. Rows follow each
// other without gaps, and no block belongs to two rows.
//
// Numbers of the types, and their blocks: ggml-org/ggml, docs/gguf.md and src/ggml-common.h.
#pragma once

#include <posenc/core/types.hpp>
#include <posenc/file/sentences.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace gguf {

/// How a tensor is stored. Files have other numbers, too: these are listed, and refused by dequantise().
enum class Type : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
};

/// What one block holds and takes.
struct Block {
  Index elements = 0, bytes = 0;
};

/// The block of a type; 0 elements in 0 bytes where the type is not known here.
[[nodiscard]] constexpr Block block_of(Type type) {
  switch (type) {
    case Type::f32:
      return {1, 4};
    case Type::f16:
    case Type::bf16:
      return {1, 2};
    case Type::q4_0:
      return {32, 18};
    case Type::q4_1:
      return {32, 20};
    case Type::q5_0:
      return {32, 22};
    case Type::q5_1:
      return {32, 24};
    case Type::q8_0:
      return {32, 34};
    case Type::q4_k:
      return {256, 144};
    case Type::q5_k:
      return {256, 176};
    case Type::q6_k:
      return {256, 210};
  }
  return {};
}

/// As ggml spells it, such as "Q4_1"; "type 99" where it is not known here.
[[nodiscard]] inline std::string name_of(Type type) {
  switch (type) {
    case Type::f32:
      return "F32";
    case Type::f16:
      return "F16";
    case Type::bf16:
      return "BF16";
    case Type::q4_0:
      return "Q4_0";
    case Type::q4_1:
      return "Q4_1";
    case Type::q5_0:
      return "Q5_0";
    case Type::q5_1:
      return "Q5_1";
    case Type::q8_0:
      return "Q8_0";
    case Type::q4_k:
      return "Q4_K";
    case Type::q5_k:
      return "Q5_K";
    case Type::q6_k:
      return "Q6_K";
  }
  return "type " + std::to_string(static_cast<std::uint32_t>(type));
}

/// A tensor of a file, or of your own bytes. The bytes are borrowed.
struct Tensor {
  std::string name{};
  std::vector<Index> shape{};  ///< 1 to 4 axes, fastest first: shape[0] elements are one row
  Type type = Type::f32;
  /// The blocks, row after row. For a type without known block this is all that may belong to the tensor: up
  /// to the next tensor's bytes, or to the end of the file.
  std::span<const std::byte> data{};

  [[nodiscard]] Index row_length() const { return shape.empty() ? 0 : shape.front(); }
  /// Of all axes but the first.
  [[nodiscard]] Index rows() const {
    Index product = shape.empty() ? 0 : 1;
    for (std::size_t axis = 1; axis < shape.size(); ++axis) product *= shape[axis];
    return product;
  }
  [[nodiscard]] Index elements() const { return rows() * row_length(); }
};

namespace detail {

using file::fail, file::in_quotes;

[[nodiscard]] inline std::string written(const std::vector<Index>& shape) {
  std::string text = "[";
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    text += (axis == 0 ? "" : ", ") + std::to_string(shape[axis]);
  return text + "]";
}

/// How many bytes a shape takes in a type, 0 where the type's block is not known. Every product that Tensor
/// makes of this shape fits. Throws Error, which names the tensor.
[[nodiscard]] inline Index bytes_of(std::string_view who, std::string_view name,
                                    const std::vector<Index>& shape, Type type) {
  if (shape.empty() || shape.size() > 4)
    fail(who, "tensor ", in_quotes(name), " has ", shape.size(), " axes; 1 to 4 are possible.");
  Index rows = 1, elements = 0, bytes = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] <= 0)
      fail(who, "tensor ", in_quotes(name), " has the shape ", written(shape),
           "; every axis must be positive.");
    if (axis > 0 && !multiply(rows, shape[axis], rows))
      fail(who, "tensor ", in_quotes(name), " has the shape ", written(shape),
           ", whose product overflows.");
  }
  if (!multiply(rows, shape.front(), elements))
    fail(who, "tensor ", in_quotes(name), " has the shape ", written(shape),
         ", whose product overflows.");
  const Block block = block_of(type);
  if (block.elements == 0) return 0;
  if (shape.front() % block.elements != 0)
    fail(who, "tensor ", in_quotes(name), " has rows of ", shape.front(),
         " elements, which is no multiple of the ", block.elements, " elements of a block of ",
         name_of(type), ".");
  if (!multiply(elements / block.elements, block.bytes, bytes))
    fail(who, "tensor ", in_quotes(name), " of the shape ", written(shape),
         " takes more bytes than can be counted.");
  return bytes;
}

}  // namespace detail

}  // namespace gguf

POSENC_NAMESPACE_END
