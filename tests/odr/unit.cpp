// SPDX-License-Identifier: MIT
//
// Compiled once per set of -m flags; ODR_UNIT names the set. To cover more of the library, use it
// in one more function below and add its numbers to the result: main() compares them between the
// units.
#include "unit.hpp"

#include <posenc/eigen.hpp>
#include <posenc/posenc.hpp>

#include <cmath>
#include <typeinfo>
#include <vector>

namespace ODR_UNIT {
namespace {

void add(UnitResult& result, double value) {
  if (result.count < UnitResult::capacity) result.values[result.count++] = value;
}

void use_frequencies(UnitResult& result) {
  const posenc::Frequencies inv_freq = posenc::geometric_frequencies(500000, 64);
  const posenc::Frequencies angles = inv_freq * 131072.0;
  for (posenc::Index i = 0; i < angles.size(); ++i) add(result, angles[i]);
}

void use_views(UnitResult& result) {
  std::vector<float> memory(3 * 2 * 4);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i) / 7.0f;
  const posenc::TensorView<float> view(memory.data(), 3, 2, 4);
  const posenc::TensorView<const float> tail = view.slice(1, 2);
  add(result, static_cast<double>(tail(1, 1, 3)));
}

void use_errors(UnitResult& result) {
  try {
    posenc::Problems problems;
    problems.require(false, "head_dim must be even, got ", 7, ".");
    problems.raise_if_any("odr");
  } catch (const posenc::Error& error) {
    add(result, static_cast<double>(error.problems().front().size()));
  }
}

/// Numbers in [-1, 1] that every unit makes alike.
template <class T>
std::vector<T> numbers(posenc::Index count, int seed) {
  std::vector<T> values;
  for (posenc::Index i = 0; i < count; ++i)
    values.push_back(static_cast<T>((i * 7919 + seed * 104729) % 2001 - 1000) / T{1000});
  return values;
}

template <class T>
void use_rotation(UnitResult& result) {
  std::vector<T> x = numbers<T>(3 * 2 * 16, 1);
  const posenc::TensorView<T> view(x.data(), 3, 2, 16);
  const auto encoding = posenc::RoPE<posenc::HalfSplit>{.head_dim = 16, .base = 500000} |
                        posenc::YaRN{.factor = 4, .original_context = 4096};
  const auto bound = posenc::bind(encoding);
  posenc::rotate(view, 1'000'000, bound);
  for (const T value : x) add(result, static_cast<double>(value));
  posenc::unrotate(view, 1'000'000, bound);
  add(result, static_cast<double>(x.back()));
}

/// 16-bit elements, positions of several axes, and angles at hand.
template <class T>
void use_short_rotation(UnitResult& result) {
  using namespace posenc;
  std::vector<T> x;
  for (const float value : numbers<float>(3 * 2 * 16, 6)) x.push_back(T(value));
  const TensorView<T> view(x.data(), 3, 2, 16);
  const auto bound =
      bind(RoPE<Interleaved>{.head_dim = 16} | MRoPE{.sections = {2, 3, 3}, .interleaved = false});
  const std::vector<Position> ids{7, 8, 9, 1, 1, 2, 5, 6, 5};
  rotate(view, Positions(ids, 3), bound);
  rotate(view, Rotations(bound, 100'000, 3));
  for (const T value : x) add(result, static_cast<double>(value));
}

template <class T, class E>
void use_attention(UnitResult& result, const E& encoding) {
  constexpr posenc::Index queries = 5, keys = 70, heads = 4, kv_heads = 2, width = 16;
  const std::vector<T> q = numbers<T>(queries * heads * width, 2),
                       k = numbers<T>(keys * kv_heads * width, 3),
                       v = numbers<T>(keys * kv_heads * 3, 4);
  std::vector<T> out(queries * heads * 3), lse(queries * heads);
  posenc::attention(posenc::TensorView<const T>(q.data(), queries, heads, width),
                    posenc::TensorView<const T>(k.data(), keys, kv_heads, width),
                    posenc::TensorView<const T>(v.data(), keys, kv_heads, 3),
                    posenc::TensorView<T>(out.data(), queries, heads, 3), encoding, {.lse = lse});
  for (const T value : out) add(result, static_cast<double>(value));
  for (const T value : lse) add(result, static_cast<double>(value));
}

template <class T>
void use_kernel(UnitResult& result) {
  using namespace posenc;
  const RoPE<Interleaved> rope{.head_dim = 16};
  use_attention<T>(result, rope | LeakyReRoPE{.window = 20} | ALiBi{} | SoftCap{20} | Causal{});
  const RoPE<HalfSplit> partial{.head_dim = 16, .rotary_dim = 2, .rotary_offset = 1};
  use_attention<T>(result, partial | RotateValues{} | SinkLogit{} | SlidingWindow{.left = 40});
  use_attention<T>(result, encoding(bias([](const Score& at) {
                     return std::cos(static_cast<double>(at.distance()));
                   })));
}

}  // namespace

UnitResult run_unit() {
  UnitResult result;
  use_frequencies(result);
  use_views(result);
  use_errors(result);
  use_rotation<float>(result);
  use_rotation<double>(result);
  use_short_rotation<Eigen::bfloat16>(result);
  use_short_rotation<Eigen::half>(result);
  use_kernel<float>(result);
  use_kernel<double>(result);
  result.type_name = typeid(posenc::Problems).name();
  return result;
}

UnitLevels levels_of_unit() {
  using namespace posenc;
  UnitLevels levels;
  levels.has_avx2 = simd::in_program(simd::Level::avx2);
  levels.best = simd::name(simd::dispatch<Eigen::bfloat16>([]<class L>(L) { return L::level; }));
  const bool avx2 = simd::is_available(simd::Level::avx2);
  try {
    const simd::ForcedLevel guard(simd::Level::avx2);
    if (!avx2) levels.refused = "nothing was refused";
  } catch (const Error&) {
    levels.refused = avx2 ? "refused without reason" : "";
  }
  return levels;
}

void force_scalar(bool on) {
  using namespace posenc;
  simd::force(on ? std::optional(simd::Level::scalar) : std::nullopt);
}

}  // namespace ODR_UNIT
