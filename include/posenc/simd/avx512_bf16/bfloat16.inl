// Rounding to bfloat16 by the instructions of AVX512_BF16. They round as IEEE 754 does but take
// numbers below the normal range for zero; those, which are rare, go the slower way round.

/// Rounds floats to bfloat16, to nearest even, into the lower 16 bits of each word.
inline __m512i round_subnormal(__m512 v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  return _mm512_srli_epi32(rounded, 16);
}
inline __mmask16 subnormal(__m512 v) { return _mm512_fpclass_ps_mask(v, 0x20); }

inline __m256i narrow_bfloat16(__m512 v) {
  const __m256i fast = (__m256i)_mm512_cvtneps_pbh(v);
  const __mmask16 small = subnormal(v);
  if (small == 0) return fast;
  return _mm256_mask_mov_epi16(fast, small, _mm512_cvtepi32_epi16(round_subnormal(v)));
}

/// a in the lower half, b in the upper.
inline __m512i narrow_two(__m512 a, __m512 b) {
  if (_mm512_kortestz(subnormal(a), subnormal(b))) return (__m512i)_mm512_cvtne2ps_pbh(b, a);
  return _mm512_inserti64x4(_mm512_castsi256_si512(narrow_bfloat16(a)), narrow_bfloat16(b), 1);
}

/// 32 elements, those of even index and those of odd index.
inline void store_words(void* p, __m512 even, __m512 odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi16(order, narrow_two(even, odd)));
}
