// SPDX-License-Identifier: MIT
//
// What the bytes of one block mean, type by type: functions from a block to its 32 or 256 floats.
//
//   Q4_0, Q5_0, Q8_0    d q           q is a signed integer of 4, 5 or 8 bits
//   Q4_1, Q5_1          d q + m       q is not signed
//   Q4_K, Q5_K          (d s) q - (d' s')    s, s' of 6 bits for each 32 elements
//   Q6_K                (d s) q       q of 6 bits, s of 8 bits for each 16 elements; both signed
//
// d, d' and m are halfs. Fewer than 24 bits make up each product here, so products are exact in float and the
// one sum rounds once: results are the same bits whether or not a compiler fuses the two.
//
// Each function copies its block first. Then nothing that it reads can be what it writes, and compilers turn
// its loops into vector code without asking at run time.
//
// Layouts: ggml-org/ggml, src/ggml-common.h and src/ggml-quants.c.
#pragma once

#include <posenc/gguf/cursor.hpp>
#include <posenc/gguf/tensor.hpp>

#include <array>
#include <bit>
#include <cstring>

POSENC_NAMESPACE_BEGIN

namespace gguf::detail {

using file::float_from_half;

[[nodiscard]] inline float half_at(const std::byte* bytes) {
  return float_from_half(load<std::uint16_t>(bytes));
}

template <std::size_t Count>
[[nodiscard]] inline std::array<std::uint8_t, Count> copy_of(const std::byte* bytes) {
  std::array<std::uint8_t, Count> copy;
  std::memcpy(copy.data(), bytes, Count);
  return copy;
}

/// Elements 0 to 15 are the low halves of 16 bytes, 16 to 31 the high ones: (element - Zero) d + m.
template <int Zero>
inline void decode_4_bits(float d, float m, const std::byte* quants, float* to) {
  const auto q = copy_of<16>(quants);
  std::array<float, 32> values;
  for (std::size_t i = 0; i < 16; ++i) {
    values[i] = d * static_cast<float>((q[i] & 15) - Zero);
    values[i + 16] = d * static_cast<float>((q[i] >> 4) - Zero);
  }
  if constexpr (Zero == 0)
    for (float& value : values) value += m;
  std::memcpy(to, values.data(), sizeof(values));
}

/// As above, with a fifth bit for each element: bit i of 32.
template <int Zero>
inline void decode_5_bits(float d, float m, const std::byte* fifth, const std::byte* quants,
                          float* to) {
  const auto high = load<std::uint32_t>(fifth);
  const auto q = copy_of<16>(quants);
  std::array<float, 32> values;
  for (std::size_t i = 0; i < 16; ++i) {
    const auto low_fifth = static_cast<int>((high >> i & 1U) << 4),
               high_fifth = static_cast<int>((high >> (i + 16) & 1U) << 4);
    values[i] = d * static_cast<float>((q[i] & 15) + low_fifth - Zero);
    values[i + 16] = d * static_cast<float>((q[i] >> 4) + high_fifth - Zero);
  }
  if constexpr (Zero == 0)
    for (float& value : values) value += m;
  std::memcpy(to, values.data(), sizeof(values));
}

inline void decode_q4_0(const std::byte* block, float* to) {
  decode_4_bits<8>(half_at(block), 0, block + 2, to);
}
inline void decode_q4_1(const std::byte* block, float* to) {
  decode_4_bits<0>(half_at(block), half_at(block + 2), block + 4, to);
}
inline void decode_q5_0(const std::byte* block, float* to) {
  decode_5_bits<16>(half_at(block), 0, block + 2, block + 6, to);
}
inline void decode_q5_1(const std::byte* block, float* to) {
  decode_5_bits<0>(half_at(block), half_at(block + 2), block + 4, block + 8, to);
}

inline void decode_q8_0(const std::byte* block, float* to) {
  const float d = half_at(block);
  const auto q = copy_of<32>(block + 2);
  std::array<float, 32> values;
  for (std::size_t i = 0; i < 32; ++i)
    values[i] = d * static_cast<float>(static_cast<std::int8_t>(q[i]));
  std::memcpy(to, values.data(), sizeof(values));
}

/// The scales of Q4_K and Q5_K: d s and d' s' of eight groups of 32 elements. Their 6 bits come from 12 bytes:
/// of groups 0 to 3 from the lower bits of bytes 0 to 3 (s) and 4 to 7 (s'); of groups 4 to 7 the lower four
/// bits from the halves of bytes 8 to 11, and the upper two from the upper two of bytes 0 to 7.
struct GroupScales {
  std::array<float, 8> scale, offset;

  explicit GroupScales(const std::byte* block) {
    const float d = half_at(block), of_offset = half_at(block + 2);
    const auto b = copy_of<12>(block + 4);
    for (std::size_t g = 0; g < 4; ++g) {
      scale[g] = d * static_cast<float>(b[g] & 63);
      offset[g] = of_offset * static_cast<float>(b[g + 4] & 63);
      scale[g + 4] = d * static_cast<float>((b[g + 8] & 15) | (b[g] >> 6 << 4));
      offset[g + 4] = of_offset * static_cast<float>((b[g + 8] >> 4) | (b[g + 4] >> 6 << 4));
    }
  }
};

/// Groups 2p and 2p + 1 are the low and the high halves of 32 bytes. Of Q5_K, bit g of 32 further bytes is the
/// fifth bit of group g.
template <bool HasFifth>
inline void decode_groups(const std::byte* block, float* to) {
  const GroupScales scales(block);
  const std::byte* quants = block + 16 + (HasFifth ? 32 : 0);
  std::array<std::uint8_t, 32> fifth{};
  if constexpr (HasFifth) fifth = copy_of<32>(block + 16);
  for (std::size_t pair = 0; pair < 4; ++pair) {
    const auto q = copy_of<32>(quants + 32 * pair);
    const std::size_t g = 2 * pair;
    std::array<float, 64> values;
    for (std::size_t i = 0; i < 32; ++i) {
      const int low = (q[i] & 15) | (fifth[i] >> g & 1) << 4,
                high = q[i] >> 4 | (fifth[i] >> (g + 1) & 1) << 4;
      values[i] = scales.scale[g] * static_cast<float>(low) - scales.offset[g];
      values[i + 32] = scales.scale[g + 1] * static_cast<float>(high) - scales.offset[g + 1];
    }
    std::memcpy(to + 64 * pair, values.data(), sizeof(values));
  }
}

inline void decode_q4_k(const std::byte* block, float* to) { decode_groups<false>(block, to); }
inline void decode_q5_k(const std::byte* block, float* to) { decode_groups<true>(block, to); }

/// Two halves of 128 elements. Quarter t of a half takes four bits from 64 bytes, the low ones for t below 2,
/// and two bits, from 2t on, from 32 bytes.
inline void decode_q6_k(const std::byte* block, float* to) {
  const auto s = copy_of<16>(block + 192);
  const float d = half_at(block + 208);
  std::array<float, 16> scale;
  for (std::size_t g = 0; g < 16; ++g)
    scale[g] = d * static_cast<float>(static_cast<std::int8_t>(s[g]));
  for (std::size_t half = 0; half < 2; ++half) {
    const auto low = copy_of<64>(block + 64 * half);
    const auto high = copy_of<32>(block + 128 + 32 * half);
    std::array<float, 128> values;
    for (std::size_t t = 0; t < 4; ++t) {
      const float* of_quarter = scale.data() + 8 * half + 2 * t;
      const float scales[2] = {of_quarter[0], of_quarter[1]};
      for (std::size_t group = 0; group < 2; ++group)
        for (std::size_t i = 16 * group; i < 16 * group + 16; ++i) {
          const int four = low[i + 32 * (t % 2)] >> (t < 2 ? 0 : 4) & 15,
                    two = high[i] >> (2 * t) & 3;
          values[32 * t + i] = scales[group] * static_cast<float>((four | two << 4) - 32);
        }
    }
    std::memcpy(to + 128 * half, values.data(), sizeof(values));
  }
}

}  // namespace gguf::detail

POSENC_NAMESPACE_END
