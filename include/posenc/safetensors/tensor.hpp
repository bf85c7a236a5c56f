// SPDX-License-Identifier: MIT
//
// A tensor as it lies in a safetensors file: its shape, how its numbers are stored, and its bytes.
//
// Rows follow each other without gaps: of a shape [a, b, c] with the slowest axis first, a b rows
// of c numbers. Types that are not floats of 16 or 32 bits are listed, and refused when they are
// read.
//
// Types and their bytes: huggingface/safetensors, README.md (Format).
#pragma once

#include <posenc/file/numbers.hpp>
#include <posenc/file/sentences.hpp>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace safetensors {

/// A tensor of a file, or of your own bytes. The bytes are borrowed.
struct Tensor {
  std::string name{};
  std::string type = "F32";    ///< as the format spells it
  std::vector<Index> shape{};  ///< slowest axis first; empty: one number
  std::span<const std::byte> data{};

  [[nodiscard]] Index row_length() const { return shape.empty() ? 1 : shape.back(); }
  /// Of all axes but the last.
  [[nodiscard]] Index rows() const {
    Index product = 1;
    for (std::size_t axis = 0; axis + 1 < shape.size(); ++axis) product *= shape[axis];
    return product;
  }
  [[nodiscard]] Index elements() const { return rows() * row_length(); }
};

/// Bytes of a number of this type; 0 where the format has no such type, or numbers of less than a byte.
[[nodiscard]] inline Index bytes_of(std::string_view type) {
  constexpr struct {
    std::string_view name;
    Index bytes;
  } types[] = {{"BOOL", 1},    {"U8", 1},  {"F8_E8M0", 1}, {"C64", 8}, {"I8", 1},   {"F8_E5M2", 1},
               {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2},     {"F16", 2}, {"BF16", 2}, {"I32", 4},
               {"U32", 4},     {"F32", 4}, {"F64", 8},     {"I64", 8}, {"U64", 8}};
  for (const auto& known : types)
    if (known.name == type) return known.bytes;
  return 0;
}

/// Bytes of all numbers of a shape; nothing where an axis is negative, or there are more than can be counted. (An
/// axis of zero does not hide what overflows beside it.)
[[nodiscard]] inline std::optional<Index> bytes_of(std::string_view type,
                                                   std::span<const Index> shape) {
  Index bytes = bytes_of(type);
  bool is_empty = false;
  for (const Index axis : shape) {
    if (axis < 0 || !multiply(bytes, std::max<Index>(axis, 1), bytes)) return std::nullopt;
    is_empty |= axis == 0;
  }
  return is_empty ? 0 : bytes;
}

/// Rows [first_row, first_row + rows) into `out`, row after row, which has exactly rows *
/// row_length() elements. Exact. Throws Error: for rows that the tensor lacks, for another size of
/// `out`, for a type other than F32, F16 and BF16, for a shape with a negative axis or more bytes than
/// can be counted, and for a tensor whose bytes do not fit its shape.
inline void read_rows(const Tensor& tensor, Index first_row, Index rows, std::span<float> out) {
  constexpr std::string_view who = "posenc::safetensors::read_rows";
  const bool f32 = tensor.type == "F32", f16 = tensor.type == "F16";
  if (!f32 && !f16 && tensor.type != "BF16")
    file::fail(who, "tensor ", file::in_quotes(tensor.name), " is stored as ",
               file::in_quotes(tensor.type), "; only F32, F16 and BF16 can be read.");
  const std::optional<Index> bytes = bytes_of(tensor.type, tensor.shape);
  if (!bytes)
    file::fail(who, "tensor ", file::in_quotes(tensor.name),
               " has a shape with a negative axis or of more bytes than can be counted.");
  if (std::ssize(tensor.data) != *bytes)
    file::fail(who, "tensor ", file::in_quotes(tensor.name), " takes ", *bytes, " bytes, and has ",
               tensor.data.size(), ".");
  if (first_row < 0 || rows < 0 || first_row > tensor.rows() || rows > tensor.rows() - first_row)
    file::fail(who, rows, " rows from row ", first_row, " on were asked for of tensor ",
               file::in_quotes(tensor.name), ", which has ", tensor.rows(), ".");
  const Index count = rows * tensor.row_length();
  if (std::ssize(out) != count)
    file::fail(who, rows, " rows of ", tensor.row_length(), " elements of tensor ",
               file::in_quotes(tensor.name), " need as many floats, and out has ", out.size(), ".");
  const std::byte* from =
      tensor.data.data() + first_row * tensor.row_length() * bytes_of(tensor.type);
  if (count == 0) return;
  (f32 ? file::read_f32 : f16 ? file::read_f16 : file::read_bf16)(from, count, out.data());
}

}  // namespace safetensors

POSENC_NAMESPACE_END
