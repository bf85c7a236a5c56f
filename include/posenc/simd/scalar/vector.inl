// Vectors of 16 bytes without a word of any instruction set: the compilers' own vector types, which
// become whatever the baseline has.

template <class U>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(16)));
  typedef std::int32_t mask __attribute__((vector_size(16)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(16)));
  typedef std::int64_t mask __attribute__((vector_size(16)));
};
template <class U>
using Vec = typename VectorOf<U>::type;
using Floats = Vec<float>;
using Doubles = Vec<double>;
using FloatBits = VectorOf<float>::mask;
using DoubleBits = VectorOf<double>::mask;
template <class U>
inline constexpr Index lanes = 16 / sizeof(U);

template <class U>
inline Vec<U> load(const U* p) {
  Vec<U> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
template <class U>
inline void store(U* p, Vec<U> v) {
  std::memcpy(p, &v, sizeof(v));
}
inline Floats broadcast(float x) { return Floats{x, x, x, x}; }
inline Doubles broadcast(double x) { return Doubles{x, x}; }
typedef std::uint32_t Words __attribute__((vector_size(16)));
typedef std::uint16_t Halves __attribute__((vector_size(16)));
/// The first four of them, each in a word.
inline Words to_words(Halves h) {
  constexpr bool little = std::endian::native == std::endian::little;
  const Halves zero{};
  return (Words)__builtin_shufflevector(little ? h : zero, little ? zero : h, 0, 8, 1, 9, 2, 10, 3,
                                        11);
}
/// float16 as floats, by bits. Below 2^-14 the leading one of 2^-14 is lent and taken back.
inline Floats from_float16(Words bits) {
  const Words magnitude = bits & 0x7fffU, rebias = Words{} + (112U << 23U);
  const Words special = (Words)(magnitude >= 0x7c00U), tiny = (Words)(magnitude < 0x400U);
  const Words rebased = (magnitude << 13U) + rebias + (special & rebias);
  const Floats taken_back = (Floats)(rebased + (1U << 23U)) - broadcast(0x1p-14F);
  return (Floats)(((Words)taken_back & tiny) | (rebased & ~tiny) | (bits & 0x8000U) << 16U);
}
/// 16-bit elements as floats.
template <class X>
  requires(sizeof(X) == 2)
inline Floats load(const X* p) {
  Halves half{};
  std::memcpy(&half, p, 4 * sizeof(X));
  const Words bits = to_words(half);
  if constexpr (element_format<X> == ElementFormat::bfloat16)
    return (Floats)(bits << 16U);
  else
    return from_float16(bits);
}
template <class X>
  requires(sizeof(X) == 2)
inline void store(X* p, Floats v) {
  for (int i = 0; i < 4; ++i) p[i] = narrow<X>(v[i]);
}
/// The first n elements of a vector; zeros follow.
template <class X>
__attribute__((noinline)) Vec<arithmetic_t<X>> load_first(const X* p, Index n) {
  if (n == lanes<arithmetic_t<X>>) return load(p);
  X elements[lanes<arithmetic_t<X>>] = {};
  for (Index i = 0; i < n; ++i) elements[i] = p[i];
  return load(elements);
}
/// Other levels have to say that a is loaded once, here.
template <class V>
inline void pin(V&) {}
/// a * b + c. Where the machine can fuse the two, that is asked for, not left to the compiler: of a b + c d it
/// fuses now one product, now the other, and the same numbers would differ from loop to loop.
template <class V>
inline V fma(V a, V b, V c) {
#ifdef __FP_FAST_FMA
  for (std::size_t i = 0; i < sizeof(V) / sizeof(c[0]); ++i) c[i] = std::fma(a[i], b[i], c[i]);
  return c;
#else
  return a * b + c;
#endif
}

/// a * b - c
template <class V>
inline V fms(V a, V b, V c) {
  return fma(a, b, -c);
}

/// Interleaved elements: even ones in a, odd ones in b, in the order of pair_order().
inline void separate(Floats& a, Floats& b) {
  const Floats first = a;
  a = __builtin_shufflevector(first, b, 0, 2, 4, 6);
  b = __builtin_shufflevector(first, b, 1, 3, 5, 7);
}
inline void separate(Doubles& a, Doubles& b) {
  const Doubles first = a;
  a = __builtin_shufflevector(first, b, 0, 2);
  b = __builtin_shufflevector(first, b, 1, 3);
}
template <class V>
inline V pair_order(V v) {
  return v;
}

/// b where the bits of mask are set, a elsewhere.
inline Floats blend(Floats a, Floats b, Floats mask) {
  return (Floats)(((FloatBits)a & ~(FloatBits)mask) | ((FloatBits)b & (FloatBits)mask));
}
inline Doubles blend(Doubles a, Doubles b, Doubles mask) {
  return (Doubles)(((DoubleBits)a & ~(DoubleBits)mask) | ((DoubleBits)b & (DoubleBits)mask));
}

/// The shape of a product: vectors side by side in a panel, and sums that registers hold.
inline constexpr int panel_vectors = 2, block_sums = 8;
/// Vectors besides sums that leaves may keep in registers.
inline constexpr int spare_registers = 8;

/// All bits set where a > b, and where a is not 0 (NaN is not).
template <class V>
inline V greater(V a, V b) {
  return (V)(a > b);
}
template <class V>
inline V is_not_zero(V a) {
  return (V)(a != V{});
}
/// The greater one; NaN in b is passed over.
template <class V>
inline V maximum(V a, V b) {
  return blend(a, b, greater(b, a));
}
inline bool any(Floats mask) {
  const DoubleBits bits = (DoubleBits)mask;
  return (bits[0] | bits[1]) != 0;
}
inline bool any(Doubles mask) { return any((Floats)mask); }

/// x less the nearest whole number, which is left in `whole`: at least -127, which stands for zero.
/// Adding and taking away a number whose last bit counts ones leaves what is whole.
inline Floats fraction(Floats x, Floats& whole) {
  const Floats least = broadcast(-127.0F), ones = broadcast(0x1.8p23F);
  const Floats bounded = blend(x, least, greater(least, x));
  whole = (bounded + ones) - ones;
  return bounded - whole;
}
/// The same: without its bound, compilers would fuse a product that x is with what comes here, and round it otherwise.
inline Floats bounded_fraction(Floats x, Floats& whole) { return fraction(x, whole); }
/// x 2^whole; 0 for -127. (Other levels may give 0 from `zero_below` on; here that would cost more.)
template <int zero_below = -126>
inline Floats scale_by_power(Floats x, Floats whole) {
  const FloatBits n = (FloatBits)(whole + broadcast(0x1.8p23F)) + 127;
  return x * (Floats)(n << 23);
}
/// Powers of two at hand between one and the next whole one: none.
inline constexpr int power_steps = 1;
inline Floats scale_by_steps(Floats x, Floats whole) { return scale_by_power(x, whole); }
