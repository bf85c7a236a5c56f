// The leaves of decoding, for one instruction set: a few rows of queries against keys and values as a
// cache keeps them. Included once within the namespace and the region of each level, after its
// vector.inl and attention.inl.
//
// Each key and value is read once from memory, for as many rows as registers have sums for, and
// becomes numbers on its way into a register. Rows of scores run along the keys. Rows of queries,
// scores and outputs are padded to whole vectors, queries with zeros.

/// Halves the vectors that hold a sum: adds what lies `Size` lanes apart within a and within b.
template <Index Size, class V, Index... I>
inline V add_apart(V a, V b, std::integer_sequence<Index, I...>) {
  return __builtin_shufflevector(a, b, (I / Size * 2 * Size + I % Size)...) +
         __builtin_shufflevector(a, b, (I / Size * 2 * Size + I % Size + Size)...);
}

/// Lane i of v[0] becomes the sum of all lanes of v[i].
template <class T, Index Size = lanes<T> / 2>
inline void sum_across(Vec<T>* v) {
#pragma GCC unroll 8
  for (Index i = 0; i < Size; ++i)
    v[i] = add_apart<Size>(v[2 * i], v[2 * i + 1], std::make_integer_sequence<Index, lanes<T>>{});
  if constexpr (Size > 1) sum_across<T, Size / 2>(v);
}

struct DecodeLeaves {
  /// scores[r][k] = <q_r, k_k>. Rows of keys have no gaps; rows of scores have room for whole vectors
  /// and at least 16.
  template <class T>
  static void dots(Index rows, Index keys, Index width, const arithmetic_t<T>* q, Index q_row,
                   const T* k, arithmetic_t<T>* scores, Index scores_row) {
    in_rows(rows, [&]<int Rows>(std::integral_constant<int, Rows>, Index r) {
      dots_of_rows<Rows>(keys, width, q + r * q_row, q_row, k, scores + r * scores_row, scores_row);
    });
  }

  /// out[r] += sum over keys of weights[r][k] values[k]. With SkipZeros a weight of zero has no
  /// effect, whatever the value.
  template <bool SkipZeros, class T>
  static void add_values(Index rows, Index keys, Index width, const arithmetic_t<T>* weights,
                         Index weights_row, const T* values, arithmetic_t<T>* out, Index out_row) {
    in_rows(rows, [&]<int Rows>(std::integral_constant<int, Rows>, Index r) {
      values_of_rows<SkipZeros, Rows>(keys, width, weights + r * weights_row, weights_row, values,
                                      out + r * out_row, out_row);
    });
  }

  /// Turns a row of scores, whole vectors of them, into weights exp(score - shift) and adds these to
  /// `sum`. The shift follows the greatest score, as in softmax() of attention.inl; what was summed
  /// before has to be multiplied by the result.
  template <class U>
  static U softmax_row(Index keys, U* scores, U& shift, U& sum) {
    constexpr U slack = 6, log2_e = U(1.442695040888963407359924681);
    Vec<U> greatest = broadcast(-std::numeric_limits<U>::infinity());
    for (Index k = 0; k < keys; k += lanes<U>) greatest = maximum(greatest, load(scores + k));
    U lane[lanes<U>];
    store(lane, greatest);
    U most = lane[0];
    for (const U x : lane) most = x > most ? x : most;
    U factor = 1;
    if (most > shift + slack) {
      store(lane, exp2(broadcast((shift - most) * log2_e)));
      factor = lane[0];
      shift = most;
    }
    // Where nothing was seen the shift is minus infinity, and must not be subtracted from itself.
    const Vec<U> subtract = broadcast(
        shift > std::numeric_limits<U>::lowest() ? shift : std::numeric_limits<U>::lowest());
    Vec<U> total = broadcast(U{0});
    for (Index k = 0; k < keys; k += lanes<U>) {
      const Vec<U> weight = exp2((load(scores + k) - subtract) * broadcast(log2_e));
      store(scores + k, weight);
      total = total + weight;
    }
    store(lane, total);
    U added = 0;
    for (const U x : lane) added += x;
    sum = sum * factor + added;
    return factor;
  }

 private:
  /// Calls f(number, first) until all rows had their turn, four, two and one at a time.
  template <class F>
  static void in_rows(Index rows, const F& f) {
    Index r = 0;
    for (; r + 4 <= rows; r += 4) f(std::integral_constant<int, 4>{}, r);
    if (r + 2 <= rows) f(std::integral_constant<int, 2>{}, r), r += 2;
    if (r < rows) f(std::integral_constant<int, 1>{}, r);
  }

  template <int Rows, class T>
  static void dots_of_rows(Index keys, Index width, const arithmetic_t<T>* q, Index q_row,
                           const T* k, arithmetic_t<T>* scores, Index scores_row) {
    using U = arithmetic_t<T>;
    constexpr int sums = lanes<U> < 8 ? 8 : lanes<U>, columns = sums / Rows;
    const Index whole = width / lanes<U> * lanes<U>;
    for (Index first = 0; first < keys; first += columns) {
      // Beyond the last key the last one is read again.
      const T* row[columns];
#pragma GCC unroll 16
      for (int i = 0; i < columns; ++i) row[i] = k + std::min(first + i, keys - 1) * width;
      Vec<U> sum[sums];
#pragma GCC unroll 16
      for (int i = 0; i < sums; ++i) sum[i] = broadcast(U{0});
      const auto step = [&]<bool Whole>(std::bool_constant<Whole>, Index c) {
        Vec<U> query[Rows];
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) query[r] = load(q + r * q_row + c);
#pragma GCC unroll 16
        for (int i = 0; i < columns; ++i) {
          const Vec<U> key = Whole ? load(row[i] + c) : load_first(row[i] + c, width - whole);
#pragma GCC unroll 4
          for (int r = 0; r < Rows; ++r)
            sum[r * columns + i] = fma(query[r], key, sum[r * columns + i]);
        }
      };
      for (Index c = 0; c < whole; c += lanes<U>) step(std::true_type{}, c);
      if (whole < width) step(std::false_type{}, whole);
      U result[sums];
#pragma GCC unroll 4
      for (int i = 0; i < sums; i += int{lanes<U>}) {
        sum_across<U>(sum + i);
        store(result + i, sum[i]);
      }
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
        std::memcpy(scores + r * scores_row + first, result + r * columns, columns * sizeof(U));
    }
  }

  template <bool SkipZeros, int Rows, class T>
  static void values_of_rows(Index keys, Index width, const arithmetic_t<T>* weights,
                             Index weights_row, const T* values, arithmetic_t<T>* out,
                             Index out_row) {
    using U = arithmetic_t<T>;
    constexpr int most = block_sums / Rows, vectors = most >= 8 ? 8 : most >= 4 ? 4 : 2;
    Index c = 0;
    const auto columns = [&]<int Vectors, bool Whole>(std::integral_constant<int, Vectors>,
                                                      std::bool_constant<Whole>) {
      Vec<U> sum[Rows][Vectors];
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sum[r][v] = broadcast(U{0});
      const T* row = values + c;
      for (Index k = 0; k < keys; ++k, row += width) {
        Vec<U> weight[Rows];
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) weight[r] = broadcast(weights[r * weights_row + k]);
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) {
          const T* const at = row + v * lanes<U>;
          const Vec<U> value = Whole ? load(at) : load_first(at, width - c);
#pragma GCC unroll 4
          for (int r = 0; r < Rows; ++r) {
            const Vec<U> next = fma(weight[r], value, sum[r][v]);
            sum[r][v] = SkipZeros ? blend(sum[r][v], next, is_not_zero(weight[r])) : next;
          }
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) {
          U* const at = out + r * out_row + c + v * lanes<U>;
          store(at, load(at) + sum[r][v]);
        }
      c += Vectors * lanes<U>;
    };
    while (c + vectors * lanes<U> <= width)
      columns(std::integral_constant<int, vectors>{}, std::true_type{});
    while (c + lanes<U> <= width) columns(std::integral_constant<int, 1>{}, std::true_type{});
    if (c < width) columns(std::integral_constant<int, 1>{}, std::false_type{});
  }
};
