// SPDX-License-Identifier: MIT
//
// A tensor's numbers as float, whatever they are stored as: all of them, or some rows.
//
//   const std::vector<float> weights = gguf::dequantise(file.tensor("blk.0.attn_q.weight"));
//   gguf::dequantise(file.tensor("token_embd.weight"), token, 1, row);   // one token's embedding
//
// Results are bit for bit those of dequantize() in the Python package `gguf` of ggml (quants.py).
//
// An optional header, not part of posenc.hpp.
#pragma once

#include <posenc/gguf/blocks.hpp>

#include <algorithm>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace gguf {

namespace detail {

inline constexpr std::string_view dequantiser = "posenc::gguf::dequantise";

template <void (*Decode)(const std::byte*, float*)>
inline void decode_blocks(const std::byte* from, Index blocks, Block block, float* to) {
  for (Index i = 0; i < blocks; ++i, from += block.bytes, to += block.elements) Decode(from, to);
}

/// Blocks of a type that is known, as floats.
inline void decode(Type type, const std::byte* from, Index blocks, float* to) {
  const Block block = block_of(type);
  switch (type) {
    case Type::f32:
      return file::read_f32(from, blocks, to);
    case Type::f16:
      return file::read_f16(from, blocks, to);
    case Type::bf16:
      return file::read_bf16(from, blocks, to);
    case Type::q4_0:
      return decode_blocks<decode_q4_0>(from, blocks, block, to);
    case Type::q4_1:
      return decode_blocks<decode_q4_1>(from, blocks, block, to);
    case Type::q5_0:
      return decode_blocks<decode_q5_0>(from, blocks, block, to);
    case Type::q5_1:
      return decode_blocks<decode_q5_1>(from, blocks, block, to);
    case Type::q8_0:
      return decode_blocks<decode_q8_0>(from, blocks, block, to);
    case Type::q4_k:
      return decode_blocks<decode_q4_k>(from, blocks, block, to);
    case Type::q5_k:
      return decode_blocks<decode_q5_k>(from, blocks, block, to);
    case Type::q6_k:
      return decode_blocks<decode_q6_k>(from, blocks, block, to);
  }
}

/// That the tensor has the bytes that its shape asks for, in a type that is known. Throws Error.
inline void check_tensor(const Tensor& tensor) {
  const Index bytes = bytes_of(dequantiser, tensor.name, tensor.shape, tensor.type);
  if (bytes == 0)
    fail(dequantiser, "tensor ", in_quotes(tensor.name), " is stored as ", name_of(tensor.type),
         "; only F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K can be read.");
  if (std::ssize(tensor.data) != bytes)
    fail(dequantiser, "tensor ", in_quotes(tensor.name), " of the shape ", written(tensor.shape),
         " takes ", bytes, " bytes as ", name_of(tensor.type), ", and has ", tensor.data.size(),
         ".");
}

}  // namespace detail

/// Rows [first_row, first_row + rows) of [tensor.rows(), tensor.row_length()] into `out`, row after row, which
/// has exactly rows * row_length() elements. Throws Error: for rows that the tensor lacks, for another size of
/// `out`, for a type that is not known here, and for a tensor whose bytes do not fit its shape.
inline void dequantise(const Tensor& tensor, Index first_row, Index rows, std::span<float> out) {
  detail::check_tensor(tensor);
  if (first_row < 0 || rows < 0 || first_row > tensor.rows() || rows > tensor.rows() - first_row)
    detail::fail(detail::dequantiser, rows, " rows from row ", first_row,
                 " on were asked for of tensor ", detail::in_quotes(tensor.name), ", which has ",
                 tensor.rows(), ".");
  const Index length = tensor.row_length();
  if (std::ssize(out) != rows * length)
    detail::fail(detail::dequantiser, rows, " rows of ", length, " elements of tensor ",
                 detail::in_quotes(tensor.name), " need as many floats, and out has ", out.size(),
                 ".");
  const Block block = block_of(tensor.type);
  const Index blocks_per_row = length / block.elements;
  if (rows > 0)
    detail::decode(tensor.type, tensor.data.data() + first_row * blocks_per_row * block.bytes,
                   rows * blocks_per_row, out.data());
}

/// All rows: tensor.elements() floats. Throws Error as above.
[[nodiscard]] inline std::vector<float> dequantise(const Tensor& tensor) {
  detail::check_tensor(tensor);
  std::vector<float> out(static_cast<std::size_t>(tensor.elements()));
  dequantise(tensor, 0, tensor.rows(), out);
  return out;
}

}  // namespace gguf

POSENC_NAMESPACE_END
