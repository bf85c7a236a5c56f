// Sums and maxima across the lanes of vectors, for one instruction set. Included once within the namespace
// and the region of each level, after its vector.inl.

/// Halves the vectors that hold a sum: adds what lies `Size` lanes apart within a and within b.
template <Index Size, class V, Index... I>
inline V add_apart(V a, V b, std::integer_sequence<Index, I...>) {
  return __builtin_shufflevector(a, b, (I / Size * 2 * Size + I % Size)...) +
         __builtin_shufflevector(a, b, (I / Size * 2 * Size + I % Size + Size)...);
}

/// Each lane that of `Size` lanes up or down.
template <Index Size, class V, Index... I>
inline V other_lanes(V v, std::integer_sequence<Index, I...>) {
  return __builtin_shufflevector(v, v, (I ^ Size)...);
}

/// Lane i of v[0] becomes the sum of all lanes of v[i].
template <class T, Index Size = lanes<T> / 2>
__attribute__((always_inline)) inline void sum_across(Vec<T>* v) {
#pragma GCC unroll 8
  for (Index i = 0; i < Size; ++i)
    v[i] = add_apart<Size>(v[2 * i], v[2 * i + 1], std::make_integer_sequence<Index, lanes<T>>{});
  if constexpr (Size > 1) sum_across<T, Size / 2>(v);
}

/// The greatest of all lanes; NaN is passed over where it is not in the first.
template <class T, Index Size = lanes<T> / 2>
inline Vec<T> maximum_across(Vec<T> v) {
  const Vec<T> m = maximum(v, other_lanes<Size>(v, std::make_integer_sequence<Index, lanes<T>>{}));
  if constexpr (Size > 1)
    return maximum_across<T, Size / 2>(m);
  else
    return m;
}
/// The sum of all lanes, in each.
template <class T, Index Size = lanes<T> / 2>
inline Vec<T> total_across(Vec<T> v) {
  const Vec<T> sum = v + other_lanes<Size>(v, std::make_integer_sequence<Index, lanes<T>>{});
  if constexpr (Size > 1)
    return total_across<T, Size / 2>(sum);
  else
    return sum;
}
