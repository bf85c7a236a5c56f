// AVX-512: sixteen floats or eight doubles. Included after one of the bfloat16.inl.

template <class U>
struct VectorOf;
template <>
struct VectorOf<float> {
  using type = __m512;
};
template <>
struct VectorOf<double> {
  using type = __m512d;
};
template <class U>
using Vec = typename VectorOf<U>::type;
template <class U>
inline constexpr Index lanes = 64 / sizeof(U);
/// Vectors of coefficients that leaves may keep in registers.
inline constexpr int spare_registers = 16;

inline __m512 fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
inline __m512d fma(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }
/// a * b - c
inline __m512 fms(__m512 a, __m512 b, __m512 c) { return _mm512_fmsub_ps(a, b, c); }
inline __m512d fms(__m512d a, __m512d b, __m512d c) { return _mm512_fmsub_pd(a, b, c); }

inline __m512 broadcast(float x) { return _mm512_set1_ps(x); }
inline __m512d broadcast(double x) { return _mm512_set1_pd(x); }

/// Loads a and b once, before anything is read through `next`. Left to itself GCC reads memory again
/// for each use, and in an order of its own that stops the processor from fetching ahead; at the
/// speed of a cache each costs a third.
template <class V, class T>
inline void pin(V& a, V& b, const T*& next) {
  __asm__ volatile("" : "+v"(a), "+v"(b), "+r"(next));
}
/// The same for one.
template <class V>
inline void pin(V& a) {
  __asm__ volatile("" : "+v"(a));
}

/// b where the bits of mask are set, a elsewhere.
inline __m512 blend(__m512 a, __m512 b, __m512 mask) {
  return _mm512_mask_mov_ps(a, _mm512_movepi32_mask(_mm512_castps_si512(mask)), b);
}
inline __m512d blend(__m512d a, __m512d b, __m512d mask) {
  return _mm512_mask_mov_pd(a, _mm512_movepi64_mask(_mm512_castpd_si512(mask)), b);
}

/// 32 bfloat16 as those of even and those of odd index: pairs share a word, and nothing has to move.
inline void load_words(const void* p, __m512& even, __m512& odd) {
  const __m512i both = _mm512_loadu_si512(p);
  even = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
  odd = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(-0x10000)));
}

// --- Consecutive elements -----------------------------------------------------------------------

inline __m512d load(const double* p) { return _mm512_loadu_pd(p); }
inline void store(double* p, __m512d v) { _mm512_storeu_pd(p, v); }
/// Two vectors of doubles as one of floats.
inline __m512 to_floats(__m512d low, __m512d high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}

/// Sixteen 16-bit elements as floats, and back.
template <class X>
inline __m512 widen_vector(__m256i packed) {
  if constexpr (element_format<X> == ElementFormat::float16)
    return _mm512_cvtph_ps(packed);
  else
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(packed), 16));
}
template <class X>
inline __m256i narrow_vector(__m512 v) {
  if constexpr (element_format<X> == ElementFormat::float16)
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  else
    return narrow_bfloat16(v);
}

template <class X>
  requires(sizeof(X) <= 4)
inline __m512 load(const X* p) {
  if constexpr (sizeof(X) == 4)
    return _mm512_loadu_ps(p);
  else
    return widen_vector<X>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
template <class X>
  requires(sizeof(X) <= 4)
inline void store(X* p, __m512 v) {
  if constexpr (sizeof(X) == 4)
    _mm512_storeu_ps(p, v);
  else
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_vector<X>(v));
}

/// The first n elements of a vector; zeros follow.
inline __m512d load_first(const double* p, Index n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1U << n) - 1), p);
}
inline void store_first(double* p, __m512d v, Index n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1U << n) - 1), v);
}
template <class X>
  requires(sizeof(X) <= 4)
inline __m512 load_first(const X* p, Index n) {
  const auto mask = static_cast<__mmask16>((1U << n) - 1);
  if constexpr (sizeof(X) == 4)
    return _mm512_maskz_loadu_ps(mask, p);
  else
    return widen_vector<X>(_mm256_maskz_loadu_epi16(mask, p));
}
template <class X>
  requires(sizeof(X) <= 4)
inline void store_first(X* p, __m512 v, Index n) {
  const auto mask = static_cast<__mmask16>((1U << n) - 1);
  if constexpr (sizeof(X) == 4)
    _mm512_mask_storeu_ps(p, mask, v);
  else
    _mm256_mask_storeu_epi16(p, mask, narrow_vector<X>(v));
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
    const __m512i even =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512 first = a;
    a = _mm512_permutex2var_ps(first, even, b);
    b = _mm512_permutex2var_ps(first, odd, b);
  }
}

// --- Interleaved elements: even ones in one vector, odd ones in another ---------------------------
//
// In-lane shuffles take two instructions each way where a full separation takes four; the price is
// an order of their own, which pair_order() gives to what the pairs are combined with.

inline void separate(__m512& a, __m512& b) {
  const __m512 first = a;
  a = _mm512_shuffle_ps(first, b, 0x88);
  b = _mm512_shuffle_ps(first, b, 0xdd);
}
inline void separate(__m512d& a, __m512d& b) {
  const __m512d first = a;
  a = _mm512_unpacklo_pd(first, b);
  b = _mm512_unpackhi_pd(first, b);
}
inline void interleave(__m512& a, __m512& b) {
  const __m512 first = a;
  a = _mm512_unpacklo_ps(first, b);
  b = _mm512_unpackhi_ps(first, b);
}
inline void interleave(__m512d& a, __m512d& b) { separate(a, b); }

inline __m512d pair_order(__m512d v) {
  // each 128-bit lane takes its pairs from the first vector, then from the second
  return _mm512_permutexvar_pd(_mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), v);
}
inline __m512 pair_order(__m512 v) { return _mm512_castpd_ps(pair_order(_mm512_castps_pd(v))); }

// --- Attention ------------------------------------------------------------------------------------

/// The shape of a product: vectors side by side in a panel, and sums that registers hold.
inline constexpr int panel_vectors = 4, block_sums = 16;

/// The greater one; NaN in b is passed over.
inline __m512 maximum(__m512 a, __m512 b) { return _mm512_max_ps(b, a); }
inline __m512d maximum(__m512d a, __m512d b) { return _mm512_max_pd(b, a); }

/// All bits set where a > b, and where a is not 0 (NaN is not).
inline __m512 greater(__m512 a, __m512 b) {
  return _mm512_castsi512_ps(_mm512_movm_epi32(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)));
}
inline __m512d greater(__m512d a, __m512d b) {
  return _mm512_castsi512_pd(_mm512_movm_epi64(_mm512_cmp_pd_mask(a, b, _CMP_GT_OQ)));
}
inline __m512 is_not_zero(__m512 a) {
  return _mm512_castsi512_ps(
      _mm512_movm_epi32(_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ)));
}
inline __m512d is_not_zero(__m512d a) {
  return _mm512_castsi512_pd(
      _mm512_movm_epi64(_mm512_cmp_pd_mask(a, _mm512_setzero_pd(), _CMP_NEQ_UQ)));
}
inline bool any(__m512 mask) { return _mm512_movepi32_mask(_mm512_castps_si512(mask)) != 0; }
inline bool any(__m512d mask) { return _mm512_movepi64_mask(_mm512_castpd_si512(mask)) != 0; }

/// x less the nearest whole number, which is left in `whole`; 0 for an infinity, so nothing needs a bound.
inline __m512 fraction(__m512 x, __m512& whole) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  whole = _mm512_sub_ps(x, f);
  return f;
}
inline __m512 bounded_fraction(__m512 x, __m512& whole) { return fraction(x, whole); }
/// x 2^whole for x within [1/2, 2] or NaN; 0 where whole is below `zero_below`, since some processors take hundreds of
/// cycles for subnormals.
template <int zero_below = -126>
inline __m512 scale_by_power(__m512 x, __m512 whole) {
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(whole, _mm512_set1_ps(zero_below), _CMP_NLT_UQ),
                                x, whole);
}
/// Powers of two at hand between one and the next whole one: none.
inline constexpr int power_steps = 1;
inline __m512 scale_by_steps(__m512 x, __m512 whole) { return _mm512_scalef_ps(x, whole); }
