// What the gradients of a tile of scores touch many numbers at once with, for one instruction set. Included
// behind attention.inl. Sums are by query: over the keys of a tile, in their order.

struct GradientLeaves {
  /// Multiplies gradients by the slopes f(x, key, query), which are computed as in AttentionLeaves::map(). A
  /// gradient of zero stays zero, whatever the slope.
  template <class T, class F>
  __attribute__((flatten)) static void multiply_by(Index keys, Index width, const T* x, T* gradient,
                                                   const F& f) {
    for_slopes<T, 1>(keys, width, x, gradient, f,
                     [=](Index at, Index, const auto& slopes) {
                       AttentionLeaves::copy_step(slopes[0], gradient + at);
                     });
  }
  /// The same, and sum += gradient times slope besides, of two slopes that f returns.
  template <class T, class F>
  __attribute__((flatten)) static void multiply_by(Index keys, Index width, const T* x, T* gradient,
                                                   const F& f, T* sum) {
    for_slopes<T, 2>(keys, width, x, gradient, f, [=](Index at, Index j, const auto& slopes) {
      AttentionLeaves::copy_step(slopes[0], gradient + at);
      add(slopes[1], sum + j);
    });
  }
  /// sum += gradient f(x, key, query).
  template <class T, class F>
  __attribute__((flatten)) static void add_multiplied(Index keys, Index width, const T* x,
                                                      const T* gradient, const F& f, T* sum) {
    for_slopes<T, 1>(keys, width, x, gradient, f,
                     [=](Index, Index j, const auto& slopes) { add(slopes[0], sum + j); });
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
  /// use(place, query, products of gradients and slopes), where f(x, key, query) returns an array of slopes. It is
  /// asked in loops of a fixed length over numbers, which become vectors; what is stored as a vector, and so may
  /// change anything that f reads, is stored behind them.
  template <class T, std::size_t count, class F, class Use>
  static void for_slopes(Index keys, Index width, const T* x, const T* gradient, const F& f,
                         const Use& use) {
    const F own = f;
    AttentionLeaves::for_steps<T>(keys, width,
                                  [&]<Index n>(std::integral_constant<Index, n>, Index k, Index j) {
                                    const Index at = k * width + j;
                                    const T* const d = gradient + at;
                                    T slopes[count][n];
                                    for (Index i = 0; i < n; ++i) {
                                      const std::array<T, count> all = own(x[at + i], k, j + i);
                                      for (std::size_t c = 0; c < count; ++c) slopes[c][i] = all[c];
                                    }
                                    for (std::size_t c = 0; c < count; ++c) {
                                      T product[n];
                                      for (Index i = 0; i < n; ++i)
                                        product[i] = d[i] * slopes[c][i];
                                      for (Index i = 0; i < n; ++i)
                                        slopes[c][i] = d[i] != 0 ? product[i] : d[i];
                                    }
                                    use(at, j, slopes);
                                  });
  }
  template <class T, std::size_t n>
  static void add(const T (&x)[n], T* y) {
    for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
  }
  /// A gradient of zero hides what it is multiplied by.
  template <class V>
  static V times(V gradient, V slope) {
    return blend(gradient, gradient * slope, is_not_zero(gradient));
  }
};
