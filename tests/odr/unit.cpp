// SPDX-License-Identifier: MIT
//
// Compiled once per set of -m flags; ODR_UNIT names the set. To cover more of the library, use it
// in one more function below and add its numbers to the result: main() compares them between the
// units.
#include "unit.hpp"

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
  use_kernel<float>(result);
  use_kernel<double>(result);
  result.type_name = typeid(posenc::Problems).name();
  return result;
}

}  // namespace ODR_UNIT
