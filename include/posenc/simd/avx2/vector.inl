// AVX2 with FMA and F16C: eight floats or four doubles.

template <class U>
struct VectorOf;
template <>
struct VectorOf<float> {
  using type = __m256;
};
template <>
struct VectorOf<double> {
  using type = __m256d;
};
template <class U>
using Vec = typename VectorOf<U>::type;
template <class U>
inline constexpr Index lanes = 32 / sizeof(U);
/// Vectors of coefficients that leaves may keep in registers.
inline constexpr int spare_registers = 8;

inline __m256 fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
inline __m256d fma(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }
/// a * b - c
inline __m256 fms(__m256 a, __m256 b, __m256 c) { return _mm256_fmsub_ps(a, b, c); }
inline __m256d fms(__m256d a, __m256d b, __m256d c) { return _mm256_fmsub_pd(a, b, c); }

inline __m256 broadcast(float x) { return _mm256_set1_ps(x); }
inline __m256d broadcast(double x) { return _mm256_set1_pd(x); }

/// Loads a and b once, before anything is read through `next`. Left to itself GCC reads memory again
/// for each use, and in an order of its own that stops the processor from fetching ahead; at the
/// speed of a cache each costs a third.
template <class V, class T>
inline void pin(V& a, V& b, const T*& next) {
  __asm__ volatile("" : "+x"(a), "+x"(b), "+r"(next));
}
/// The same for one.
template <class V>
inline void pin(V& a) {
  __asm__ volatile("" : "+x"(a));
}

/// b where the bits of mask are set, a elsewhere.
inline __m256 blend(__m256 a, __m256 b, __m256 mask) { return _mm256_blendv_ps(a, b, mask); }
inline __m256d blend(__m256d a, __m256d b, __m256d mask) { return _mm256_blendv_pd(a, b, mask); }

// --- bfloat16 in the upper half of each word ----------------------------------------------------

/// Rounds floats to bfloat16, to nearest even, leaving the result in the upper 16 bits of each word
/// and rubbish in the lower. NaN is kept from turning into an infinity.
inline __m256i round_bfloat16(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}

/// 16 elements as those of even and those of odd index.
inline void load_words(const void* p, __m256& even, __m256& odd) {
  const __m256i both = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  even = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
  odd = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(-0x10000)));
}
inline void store_words(void* p, __m256 even, __m256 odd) {
  const __m256i lower = _mm256_srli_epi32(round_bfloat16(even), 16);
  _mm256_storeu_si256(static_cast<__m256i*>(p),
                      _mm256_blend_epi16(lower, round_bfloat16(odd), 0xaa));
}

// --- Consecutive elements -----------------------------------------------------------------------

inline __m256d load(const double* p) { return _mm256_loadu_pd(p); }
inline void store(double* p, __m256d v) { _mm256_storeu_pd(p, v); }
/// Two vectors of doubles as one of floats.
inline __m256 to_floats(__m256d low, __m256d high) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)), _mm256_cvtpd_ps(high),
                              1);
}

template <class X>
  requires(sizeof(X) <= 4)
inline __m256 load(const X* p) {
  if constexpr (sizeof(X) == 4) {
    return _mm256_loadu_ps(p);
  } else {
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    if constexpr (element_format<X> == ElementFormat::float16)
      return _mm256_cvtph_ps(packed);
    else
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(packed), 16));
  }
}
template <class X>
  requires(sizeof(X) <= 4)
inline void store(X* p, __m256 v) {
  if constexpr (sizeof(X) == 4) {
    _mm256_storeu_ps(p, v);
  } else {
    __m128i packed;
    if constexpr (element_format<X> == ElementFormat::float16) {
      packed = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    } else {
      const __m256i words = _mm256_srli_epi32(round_bfloat16(v), 16);
      packed = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
  }
}

/// The first n elements of a vector; zeros follow.
template <class X>
  requires(sizeof(X) < 4)
__attribute__((noinline)) __m256 load_first(const X* p, Index n) {
  if (n == lanes<float>) return load(p);
  X elements[lanes<float>] = {};
  for (Index i = 0; i < n; ++i) elements[i] = p[i];
  return load(elements);
}
template <class X>
  requires(sizeof(X) < 4)
inline void store_first(X* p, __m256 v, Index n) {
  X elements[lanes<float>];
  store(elements, v);
  for (Index i = 0; i < n; ++i) p[i] = elements[i];
}
/// All bits set in the first n lanes.
template <class U>
inline __m256i first_lanes(Index n) {
  if constexpr (sizeof(U) == 4)
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  else
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
inline __m256 load_first(const float* p, Index n) {
  return _mm256_maskload_ps(p, first_lanes<float>(n));
}
inline __m256d load_first(const double* p, Index n) {
  return _mm256_maskload_pd(p, first_lanes<double>(n));
}
inline void store_first(float* p, __m256 v, Index n) {
  _mm256_maskstore_ps(p, first_lanes<float>(n), v);
}
inline void store_first(double* p, __m256d v, Index n) {
  _mm256_maskstore_pd(p, first_lanes<double>(n), v);
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
    const __m256 first = a;
    const auto in_order = [](__m256& v) {
      v = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
    };
    a = _mm256_shuffle_ps(first, b, 0x88);
    b = _mm256_shuffle_ps(first, b, 0xdd);
    in_order(a);
    in_order(b);
  }
}

// --- Interleaved elements: even ones in one vector, odd ones in another ---------------------------
//
// In-lane shuffles take two instructions each way where a full separation takes four; the price is
// an order of their own, which pair_order() gives to what the pairs are combined with.

inline void separate(__m256& a, __m256& b) {
  const __m256 first = a;
  a = _mm256_shuffle_ps(first, b, 0x88);
  b = _mm256_shuffle_ps(first, b, 0xdd);
}
inline void separate(__m256d& a, __m256d& b) {
  const __m256d first = a;
  a = _mm256_unpacklo_pd(first, b);
  b = _mm256_unpackhi_pd(first, b);
}
inline void interleave(__m256& a, __m256& b) {
  const __m256 first = a;
  a = _mm256_unpacklo_ps(first, b);
  b = _mm256_unpackhi_ps(first, b);
}
inline void interleave(__m256d& a, __m256d& b) { separate(a, b); }

inline __m256d pair_order(__m256d v) { return _mm256_permute4x64_pd(v, 0xd8); }
inline __m256 pair_order(__m256 v) { return _mm256_castpd_ps(pair_order(_mm256_castps_pd(v))); }

// --- Attention ------------------------------------------------------------------------------------

/// The shape of a product: vectors side by side in a panel, and sums that registers hold.
inline constexpr int panel_vectors = 2, block_sums = 12;

/// The greater one; NaN in b is passed over.
inline __m256 maximum(__m256 a, __m256 b) { return _mm256_max_ps(b, a); }
inline __m256d maximum(__m256d a, __m256d b) { return _mm256_max_pd(b, a); }

/// All bits set where a > b, and where a is not 0 (NaN is not).
inline __m256 greater(__m256 a, __m256 b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
inline __m256d greater(__m256d a, __m256d b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
inline __m256 is_not_zero(__m256 a) { return _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ); }
inline __m256d is_not_zero(__m256d a) { return _mm256_cmp_pd(a, _mm256_setzero_pd(), _CMP_NEQ_UQ); }
inline bool any(__m256 mask) { return _mm256_movemask_ps(mask) != 0; }
inline bool any(__m256d mask) { return _mm256_movemask_pd(mask) != 0; }

/// x less the nearest whole number, which is left in `whole`; |x| is below 2^22.
inline __m256 bounded_fraction(__m256 x, __m256& whole) {
  whole = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm256_sub_ps(x, whole);
}
/// The same of any x of at most 127; `whole` is at least -127, which stands for zero.
inline __m256 fraction(__m256 x, __m256& whole) {
  return bounded_fraction(_mm256_max_ps(_mm256_set1_ps(-127), x), whole);
}
/// x 2^whole; 0 for -127. (Other levels may give 0 from `zero_below` on; here that would cost more.)
template <int zero_below = -126>
inline __m256 scale_by_power(__m256 x, __m256 whole) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
  return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
/// Powers of two at hand between one and the next whole one.
inline constexpr int power_steps = 4;
/// x 2^(whole / 4); 0 for -127 * 4. With whole = 4 n + j: the bits of 2^(j/4), of which j / 4 of an exponent were taken
/// as `whole` brings them, beside n.
inline __m256 scale_by_steps(__m256 x, __m256 whole) {
  const __m256i n = _mm256_cvtps_epi32(whole);
  const __m256i parts = _mm256_setr_epi32(0x3f800000, 0x3f7837f0, 0x3f7504f3, 0x3f7744fd,
                                          0x3f800000, 0x3f7837f0, 0x3f7504f3, 0x3f7744fd);
  const __m256i part = _mm256_castps_si256(_mm256_permutevar_ps(_mm256_castsi256_ps(parts), n));
  return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_add_epi32(part, _mm256_slli_epi32(n, 21))));
}
