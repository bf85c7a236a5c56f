// NEON: four floats or two doubles.

template <class U>
struct VectorOf;
template <>
struct VectorOf<float> {
  using type = float32x4_t;
};
template <>
struct VectorOf<double> {
  using type = float64x2_t;
};
template <class U>
using Vec = typename VectorOf<U>::type;
template <class U>
inline constexpr Index lanes = 16 / sizeof(U);
/// Vectors of coefficients that leaves may keep in registers.
inline constexpr int spare_registers = 16;

inline float32x4_t fma(float32x4_t a, float32x4_t b, float32x4_t c) { return vfmaq_f32(c, a, b); }
inline float64x2_t fma(float64x2_t a, float64x2_t b, float64x2_t c) { return vfmaq_f64(c, a, b); }
/// a * b - c
inline float32x4_t fms(float32x4_t a, float32x4_t b, float32x4_t c) {
  return vfmaq_f32(vnegq_f32(c), a, b);
}
inline float64x2_t fms(float64x2_t a, float64x2_t b, float64x2_t c) {
  return vfmaq_f64(vnegq_f64(c), a, b);
}

inline float32x4_t broadcast(float x) { return vdupq_n_f32(x); }
inline float64x2_t broadcast(double x) { return vdupq_n_f64(x); }

/// Loads a and b once, before anything is read through `next`. Left to itself GCC reads memory again
/// for each use, and in an order of its own that stops the processor from fetching ahead; at the
/// speed of a cache each costs a third.
template <class V, class T>
inline void pin(V& a, V& b, const T*& next) {
  __asm__ volatile("" : "+w"(a), "+w"(b), "+r"(next));
}
/// The same for one.
template <class V>
inline void pin(V& a) {
  __asm__ volatile("" : "+w"(a));
}

/// b where the bits of mask are set, a elsewhere.
inline float32x4_t blend(float32x4_t a, float32x4_t b, float32x4_t mask) {
  return vbslq_f32(vreinterpretq_u32_f32(mask), b, a);
}
inline float64x2_t blend(float64x2_t a, float64x2_t b, float64x2_t mask) {
  return vbslq_f64(vreinterpretq_u64_f64(mask), b, a);
}

// --- bfloat16 in the upper half of each word ----------------------------------------------------

/// Rounds floats to bfloat16, to nearest even, leaving the result in the upper 16 bits of each word
/// and rubbish in the lower. NaN is kept from turning into an infinity.
inline uint32x4_t round_bfloat16(float32x4_t v) {
  const uint32x4_t bits = vreinterpretq_u32_f32(v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  return vbslq_u32(vceqq_f32(v, v), rounded, vorrq_u32(bits, vdupq_n_u32(0x400000)));
}

/// 8 elements as those of even and those of odd index.
inline void load_words(const void* p, float32x4_t& even, float32x4_t& odd) {
  const uint32x4_t both = vreinterpretq_u32_u8(vld1q_u8(static_cast<const std::uint8_t*>(p)));
  even = vreinterpretq_f32_u32(vshlq_n_u32(both, 16));
  odd = vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(0xffff0000U)));
}
inline void store_words(void* p, float32x4_t even, float32x4_t odd) {
  const uint32x4_t lower = vshrq_n_u32(round_bfloat16(even), 16);
  const uint32x4_t both = vbslq_u32(vdupq_n_u32(0xffff0000U), round_bfloat16(odd), lower);
  vst1q_u8(static_cast<std::uint8_t*>(p), vreinterpretq_u8_u32(both));
}

// --- Consecutive elements -----------------------------------------------------------------------

inline float64x2_t load(const double* p) { return vld1q_f64(p); }
inline void store(double* p, float64x2_t v) { vst1q_f64(p, v); }
/// Two vectors of doubles as one of floats.
inline float32x4_t to_floats(float64x2_t low, float64x2_t high) {
  return vcvt_high_f32_f64(vcvt_f32_f64(low), high);
}

/// Four 16-bit elements, whatever their type is called.
inline uint16x4_t load_bits(const void* p) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, p, sizeof bits);
  return vcreate_u16(bits);
}
inline void store_bits(void* p, uint16x4_t v) {
  const std::uint64_t bits = vget_lane_u64(vreinterpret_u64_u16(v), 0);
  std::memcpy(p, &bits, sizeof bits);
}

template <class X>
  requires(sizeof(X) <= 4)
inline float32x4_t load(const X* p) {
  if constexpr (sizeof(X) == 4)
    return vld1q_f32(p);
  else if constexpr (element_format<X> == ElementFormat::float16)
    return vcvt_f32_f16(vreinterpret_f16_u16(load_bits(p)));
  else
    return vreinterpretq_f32_u32(vshll_n_u16(load_bits(p), 16));
}
template <class X>
  requires(sizeof(X) <= 4)
inline void store(X* p, float32x4_t v) {
  if constexpr (sizeof(X) == 4)
    vst1q_f32(p, v);
  else if constexpr (element_format<X> == ElementFormat::float16)
    store_bits(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
  else
    store_bits(p, vshrn_n_u32(round_bfloat16(v), 16));
}

/// The first n elements of a vector; zeros follow.
template <class X>
inline Vec<arithmetic_t<X>> load_first(const X* p, Index n) {
  if (n == lanes<arithmetic_t<X>>) return load(p);
  X elements[lanes<arithmetic_t<X>>] = {};
  for (Index i = 0; i < n; ++i) elements[i] = p[i];
  return load(elements);
}
template <class X>
inline void store_first(X* p, Vec<arithmetic_t<X>> v, Index n) {
  X elements[lanes<arithmetic_t<X>>];
  store(elements, v);
  for (Index i = 0; i < n; ++i) p[i] = elements[i];
}

// --- Two vectors of consecutive elements, in the order that is cheapest ---------------------------
//
// block_order() gives the same order to what they are combined with.

template <class X>
inline void load_block(const X* p, Vec<arithmetic_t<X>>& a, Vec<arithmetic_t<X>>& b) {
  if constexpr (element_format<X> == ElementFormat::bfloat16) {
    load_words(p, a, b);
  } else {
    a = load(p);
    b = load(p + lanes<arithmetic_t<X>>);
  }
}
template <class X>
inline void store_block(X* p, Vec<arithmetic_t<X>> a, Vec<arithmetic_t<X>> b) {
  if constexpr (element_format<X> == ElementFormat::bfloat16) {
    store_words(p, a, b);
  } else {
    store(p, a);
    store(p + lanes<arithmetic_t<X>>, b);
  }
}
template <class X>
inline void block_order(Vec<arithmetic_t<X>>& a, Vec<arithmetic_t<X>>& b) {
  if constexpr (element_format<X> == ElementFormat::bfloat16) {
    const float32x4_t first = a;
    a = vuzp1q_f32(first, b);
    b = vuzp2q_f32(first, b);
  }
}

// --- Interleaved elements: even ones in one vector, odd ones in another ---------------------------

inline void separate(float32x4_t& a, float32x4_t& b) {
  const float32x4_t first = a;
  a = vuzp1q_f32(first, b);
  b = vuzp2q_f32(first, b);
}
inline void separate(float64x2_t& a, float64x2_t& b) {
  const float64x2_t first = a;
  a = vuzp1q_f64(first, b);
  b = vuzp2q_f64(first, b);
}
inline void interleave(float32x4_t& a, float32x4_t& b) {
  const float32x4_t first = a;
  a = vzip1q_f32(first, b);
  b = vzip2q_f32(first, b);
}
inline void interleave(float64x2_t& a, float64x2_t& b) {
  const float64x2_t first = a;
  a = vzip1q_f64(first, b);
  b = vzip2q_f64(first, b);
}

/// The order in which separate() gives the pairs: their own.
inline float32x4_t pair_order(float32x4_t v) { return v; }
inline float64x2_t pair_order(float64x2_t v) { return v; }

// --- Attention ------------------------------------------------------------------------------------

/// The shape of a product: vectors side by side in a panel, and sums that registers hold.
inline constexpr int panel_vectors = 4, block_sums = 16;

/// The greater one; NaN is passed over.
inline float32x4_t maximum(float32x4_t a, float32x4_t b) { return vmaxnmq_f32(a, b); }
inline float64x2_t maximum(float64x2_t a, float64x2_t b) { return vmaxnmq_f64(a, b); }

/// All bits set where a > b, and where a is not 0 (NaN is not).
inline float32x4_t greater(float32x4_t a, float32x4_t b) {
  return vreinterpretq_f32_u32(vcgtq_f32(a, b));
}
inline float64x2_t greater(float64x2_t a, float64x2_t b) {
  return vreinterpretq_f64_u64(vcgtq_f64(a, b));
}
inline float32x4_t is_not_zero(float32x4_t a) {
  return vreinterpretq_f32_u32(vmvnq_u32(vceqzq_f32(a)));
}
inline float64x2_t is_not_zero(float64x2_t a) {
  return vreinterpretq_f64_u32(vmvnq_u32(vreinterpretq_u32_u64(vceqzq_f64(a))));
}
inline bool any(float32x4_t mask) { return vmaxvq_u32(vreinterpretq_u32_f32(mask)) != 0; }
inline bool any(float64x2_t mask) { return vmaxvq_u32(vreinterpretq_u32_f64(mask)) != 0; }

/// x less the nearest whole number, which is left in `whole`; |x| is below 2^22.
inline float32x4_t bounded_fraction(float32x4_t x, float32x4_t& whole) {
  whole = vrndnq_f32(x);
  return vsubq_f32(x, whole);
}
/// The same of any x of at most 127; `whole` is at least -127, which stands for zero.
inline float32x4_t fraction(float32x4_t x, float32x4_t& whole) {
  return bounded_fraction(vmaxq_f32(x, vdupq_n_f32(-127)), whole);
}
/// x 2^whole; 0 for -127. (Other levels may give 0 from `zero_below` on; here that would cost more.)
template <int zero_below = -126>
inline float32x4_t scale_by_power(float32x4_t x, float32x4_t whole) {
  const int32x4_t exponent = vaddq_s32(vcvtnq_s32_f32(whole), vdupq_n_s32(127));
  return vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}
/// Powers of two at hand between one and the next whole one: none.
inline constexpr int power_steps = 1;
inline float32x4_t scale_by_steps(float32x4_t x, float32x4_t whole) {
  return scale_by_power(x, whole);
}
