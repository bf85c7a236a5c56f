// Rounding to bfloat16 without help from the processor: a bfloat16 is the upper half of a float.

/// Rounds floats to bfloat16, to nearest even, leaving the result in the upper 16 bits of each word
/// and rubbish in the lower. NaN is kept from turning into an infinity.
inline __m512i round_bfloat16(__m512 v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
}

inline __m256i narrow_bfloat16(__m512 v) {
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bfloat16(v), 16));
}

/// 32 elements, those of even index and those of odd index.
inline void store_words(void* p, __m512 even, __m512 odd) {
  const __m512i lower = _mm512_srli_epi32(round_bfloat16(even), 16);
  _mm512_storeu_si512(p, _mm512_mask_mov_epi16(lower, 0xaaaaaaaa, round_bfloat16(odd)));
}
