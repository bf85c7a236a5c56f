// The leaves of the attention kernel: everything in it that touches many numbers at once. Included
// once within the namespace and the region of each level; plain loops of fixed length, which every
// compiler vectorises for the instructions it was given.

struct AttentionLeaves {
  /// Tile shape of the attention kernel: how many queries and keys meet in one tile.
  static constexpr Index tile_queries = 32;
  static constexpr Index tile_keys = 64;

  /// Columns of the right operand of product() are a multiple of this; callers pad.
  static constexpr Index column_block = 16;

  /// C = A B, or C += A B. A [rows][inner], B [inner][columns], C [rows][columns], row-major with
  /// the given strides.
  template <bool Accumulate, class T>
  static void product(Index rows, Index columns, Index inner, const T* a, Index a_stride,
                      const T* b, Index b_stride, T* c, Index c_stride) {
    Index r = 0;
    for (; r + 4 <= rows; r += 4)
      for (Index j = 0; j < columns; j += column_block)
        block<Accumulate, 4>(inner, a + r * a_stride, a_stride, b + j, b_stride,
                             c + r * c_stride + j, c_stride);
    for (; r < rows; ++r)
      for (Index j = 0; j < columns; j += column_block)
        block<Accumulate, 1>(inner, a + r * a_stride, a_stride, b + j, b_stride,
                             c + r * c_stride + j, c_stride);
  }

  /// C += A B where a zero in A has no effect, whatever stands in B.
  template <class T>
  static void product_skipping_zeros(Index rows, Index columns, Index inner, const T* a,
                                     Index a_stride, const T* b, Index b_stride, T* c,
                                     Index c_stride) {
    for (Index r = 0; r < rows; ++r)
      for (Index k = 0; k < inner; ++k) {
        const T weight = a[r * a_stride + k];
        if (weight == 0) continue;
        for (Index j = 0; j < columns; ++j) c[r * c_stride + j] += weight * b[k * b_stride + j];
      }
  }

  /// Greatest of n values; NaN values are passed over.
  template <class T>
  static T maximum(const T* x, Index n) {
    T greatest = -std::numeric_limits<T>::infinity();
    for (Index i = 0; i < n; ++i) greatest = x[i] > greatest ? x[i] : greatest;
    return greatest;
  }

  /// x = exp(x - shift); returns the sum.
  template <class T>
  static T exponentials(T* x, Index n, T shift) {
    T sum = 0;
    for (Index i = 0; i < n; ++i) {
      x[i] = std::exp(x[i] - shift);
      sum += x[i];
    }
    return sum;
  }

  template <class T>
  static void scale(T* x, Index n, T factor) {
    for (Index i = 0; i < n; ++i) x[i] *= factor;
  }

  /// True when none of the n values is infinite or NaN.
  template <class T>
  static bool all_finite(const T* x, Index n) {
    T zero = 0;
    for (Index i = 0; i < n; ++i) zero += x[i] * 0;
    return zero == 0;
  }

 private:
  template <bool Accumulate, int Rows, class T>
  static void block(Index inner, const T* a, Index a_stride, const T* b, Index b_stride, T* c,
                    Index c_stride) {
    T sum[Rows][column_block] = {};
    for (Index k = 0; k < inner; ++k)
      for (int r = 0; r < Rows; ++r) {
        const T weight = a[r * a_stride + k];
        for (Index j = 0; j < column_block; ++j) sum[r][j] += weight * b[k * b_stride + j];
      }
    for (int r = 0; r < Rows; ++r)
      for (Index j = 0; j < column_block; ++j)
        c[r * c_stride + j] = Accumulate ? c[r * c_stride + j] + sum[r][j] : sum[r][j];
  }
};
