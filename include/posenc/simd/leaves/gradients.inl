// What the gradients of a tile of scores touch many numbers at once with, for one instruction set. Included
// behind attention.inl. Sums are by query: over the keys of a tile, in their order.

struct GradientLeaves {
  /// Replaces each score x of a tile by the first number that f(x, key, query) returns, and writes the others to
  /// `slopes`, one array for each; computed as in AttentionLeaves::map().
  template <class T, std::size_t count, class F>
  __attribute__((flatten)) static void map_with_slopes(Index keys, Index width, T* scores,
                                                       const std::array<T*, count>& slopes,
                                                       const F& f) {
    const F own = f;
    const std::array<T*, count> to = slopes;
    AttentionLeaves::for_steps<T>(
        keys, width, [&]<Index n>(std::integral_constant<Index, n>, Index k, Index j) {
          const Index at = k * width + j;
          T results[count + 1][n];
          for (Index i = 0; i < n; ++i) {
            const std::array<T, count + 1> all = own(scores[at + i], k, j + i);
            for (std::size_t c = 0; c <= count; ++c) results[c][i] = all[c];
          }
          for (std::size_t c = 0; c < count; ++c)
            AttentionLeaves::copy_step(results[c + 1], to[c] + at);
          AttentionLeaves::copy_step(results[0], scores + at);
        });
  }
  /// gradient *= slope, of n numbers, whole vectors. A gradient of zero stays zero, whatever the slope.
  template <class T>
  static void multiply(Index n, const T* slope, T* gradient) {
    for (Index i = 0; i < n; i += lanes<T>)
      store(gradient + i, times(load(gradient + i), load(slope + i)));
  }
  /// sum += gradient x.
  template <class T>
  static void add_products(Index keys, Index width, const T* x, const T* gradient, T* sum) {
    for (Index j = 0; j < width; j += lanes<T>) {
      Vec<T> total = load(sum + j);
      for (Index at = j; at < keys * width; at += width)
        total = total + times(load(gradient + at), load(x + at));
      store(sum + j, total);
    }
  }

  /// sum[distance - least] += gradients of a tile, of queries first, first + 1, ... and keys of any order. A
  /// row of the next key goes one sum further, so that its vectors overlap those just stored and would wait
  /// for them: rows are taken `lanes` apart, whose vectors are the same where keys are consecutive.
  template <class T>
  static void add_by_distance(Index keys, Index queries, Index width, const T* gradient,
                              const Position* key, Position first, Position least, T* sum) {
    for (Index r = 0; r < std::min(lanes<T>, keys); ++r)
      for (Index k = r; k < keys; k += lanes<T>) {
        T* const to = sum + (first - key[k] - least);
        const T* const row = gradient + k * width;
        Index j = 0;
        for (; j + lanes<T> <= queries; j += lanes<T>) store(to + j, load(to + j) + load(row + j));
        for (; j < queries; ++j) to[j] += row[j];
      }
  }

  /// Calls f, compiled for the instructions of the level: its loops of a fixed length become vectors.
  template <class F>
  __attribute__((flatten)) static void run(const F& f) {
    f();
  }

 private:
  /// A gradient of zero hides what it is multiplied by.
  template <class V>
  static V times(V gradient, V slope) {
    return blend(gradient, gradient * slope, is_not_zero(gradient));
  }
};
