// SPDX-License-Identifier: MIT
//
// The loops of kernels.hpp, for vectors of one instruction set. Included once per level within its
// namespace and region, after
//
//   Vec, lanes                 a vector of floats
//   multiply_add(a, b, c)      a * b + c
//   stream(to, v)              a store that goes past the caches
//   accumulators               enough to keep the multiply-add units busy, few enough for registers
//
// Lengths are multiples of Blocks::step and pointers are aligned to a vector.

inline Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
inline Vec broadcast(float x) { return Vec{} + x; }

/// Asks for the cache lines of four vectors, some bytes ahead.
template <int Ahead>
inline void ask(const float* p) {
  constexpr int line = 64 / sizeof(float);
  if constexpr (Ahead > 0)
    for (int i = 0; i < 4 * lanes; i += line) __builtin_prefetch(p + Ahead / sizeof(float) + i);
}

/// x *= a for four vectors. Loads come before stores: a processor that cannot tell their addresses
/// apart would wait.
template <int Ahead>
inline void scale_four(float* x, Vec a) {
  ask<Ahead>(x);
  const Vec x0 = load(x), x1 = load(x + lanes), x2 = load(x + 2 * lanes), x3 = load(x + 3 * lanes);
  store(x, x0 * a);
  store(x + lanes, x1 * a);
  store(x + 2 * lanes, x2 * a);
  store(x + 3 * lanes, x3 * a);
}

template <int Ahead>
void scale(Blocks blocks, float factor) {
  const Vec a = broadcast(factor);
  float* row = blocks.data;
  for (Index r = 0; r < blocks.rows; ++r, row += blocks.stride)
    for (Index i = 0; i < blocks.width; i += 4 * lanes) scale_four<Ahead>(row + i, a);
}

/// From the beginning and from the middle at the same time: in memory two streams are faster than
/// one on some machines.
template <int Ahead>
void scale_halves(Blocks blocks, float factor) {
  const auto [first, second] = halves(blocks);
  if (second.rows == 0) return scale<Ahead>(blocks, factor);
  const Vec a = broadcast(factor);
  const Index apart = second.data - first.data;
  float* row = first.data;
  for (Index r = 0; r < first.rows; ++r, row += first.stride)
    for (Index i = 0; i < first.width; i += 4 * lanes) {
      scale_four<Ahead>(row + i, a);
      scale_four<Ahead>(row + apart + i, a);
    }
}

template <int Ahead, bool Streaming>
void copy(const float* x, float* y, Index n) {
  const auto put = [](float* to, Vec v) {
    if constexpr (Streaming)
      stream(to, v);
    else
      store(to, v);
  };
  for (Index i = 0; i < n; i += 4 * lanes) {
    ask<Ahead>(x + i);
    const Vec x0 = load(x + i), x1 = load(x + i + lanes), x2 = load(x + i + 2 * lanes),
              x3 = load(x + i + 3 * lanes);
    put(y + i, x0);
    put(y + i + lanes, x1);
    put(y + i + 2 * lanes, x2);
    put(y + i + 3 * lanes, x3);
  }
  if constexpr (Streaming) std::atomic_thread_fence(std::memory_order_seq_cst);
}

/// The sum of n floats, read as so many streams; what these leave is read at the end.
template <int Ahead, int Streams>
float sum(const float* x, Index n) {
  const Index part = n / Streams / Blocks::step * Blocks::step;
  Vec a{}, b{}, c{}, d{};
  const auto add = [&](const float* p) {
    ask<Ahead>(p);
    a += load(p);
    b += load(p + lanes);
    c += load(p + 2 * lanes);
    d += load(p + 3 * lanes);
  };
  for (Index i = 0; i < part; i += 4 * lanes)
    for (int s = 0; s < Streams; ++s) add(x + s * part + i);
  for (Index i = Streams * part; i < n; i += 4 * lanes) add(x + i);
  const Vec all = (a + b) + (c + d);
  float total = 0;
  for (int i = 0; i < lanes; ++i) total += all[i];
  return total;
}

template <std::size_t... I>
inline float multiply_add_chains(Index steps, std::index_sequence<I...>) {
  // Every chain tends to 2; one that began there would be known beforehand.
  Vec chain[] = {broadcast(static_cast<float>(3 + I))...};
  const Vec half = broadcast(0.5F), one = broadcast(1);
  for (Index i = 0; i < steps; i += 2) {
    ((chain[I] = multiply_add(chain[I], half, one)), ...);
    ((chain[I] = multiply_add(chain[I], half, one)), ...);
  }
  Vec all{};
  ((all += chain[I]), ...);
  return all[0];
}

/// Independent chains of multiply-adds.
inline float multiply_add_peak(Index steps) {
  return multiply_add_chains(steps, std::make_index_sequence<accumulators>());
}

inline const Kernels kernels{
    lanes == 16  ? "512 bits"
    : lanes == 8 ? "256 bits"
                 : "128 bits",
    {scale<0>, scale<4096>, scale<8192>, scale<16384>, scale_halves<0>, scale_halves<4096>},
    {copy<0, false>, copy<8192, false>, copy<0, true>, copy<4096, true>, copy_by_library,
     copy_by_instruction},
    {sum<0, 1>, sum<4096, 1>, sum<0, 2>, sum<4096, 2>, sum<0, 4>, sum<2048, 4>},
    multiply_add_peak,
    2.0 * static_cast<double>(accumulators) * lanes};
