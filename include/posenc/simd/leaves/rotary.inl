// The leaves of rotary position, for one instruction set: included once within the namespace and
// the region of each level, after its vector.inl.
//
// Rows of angles are padded to whole vectors of every level, so that loops over them have no tails.

struct RotaryLeaves {
  /// Products of n complex numbers: out = a * b. Each operand is n cosines and, `stride` further on,
  /// n sines. out may be a.
  static void multiply_angles(Index n, const double* a, Index a_stride, const double* b,
                              Index b_stride, double* out, Index out_stride) {
    for (Index i = 0; i < n; i += lanes<double>) {
      const Vec<double> ac = load(a + i), as = load(a + a_stride + i);
      const Vec<double> bc = load(b + i), bs = load(b + b_stride + i);
      store(out + i, fms(ac, bc, as * bs));
      store(out + out_stride + i, fma(ac, bs, as * bc));
    }
  }

  /// The last product of the angles of some tokens, rounded to what tensors are computed in:
  /// factor * a * b[token], where `cos_factor` and `sin_factor` may differ in sign. Rows of b and of
  /// the results are b_row and row apart.
  template <class U>
  static void finish_angles(Index tokens, Index n, const double* a, Index a_stride, const double* b,
                            Index b_stride, Index b_row, double cos_factor, double sin_factor,
                            U* cos, U* sin, Index row) {
    for (Index i = 0; i < n; i += lanes<U>) {
      constexpr int parts = lanes<U> / lanes<double>;
      Vec<double> cc[parts], cs[parts], sc[parts], ss[parts];
      for (int part = 0; part < parts; ++part) {
        const Vec<double> ac = load(a + i + part * lanes<double>);
        const Vec<double> as = load(a + a_stride + i + part * lanes<double>);
        cc[part] = broadcast(cos_factor) * ac, cs[part] = broadcast(cos_factor) * as;
        sc[part] = broadcast(sin_factor) * ac, ss[part] = broadcast(sin_factor) * as;
      }
      for (Index t = 0; t < tokens; ++t) {
        const double* const at = b + t * b_row + i;
        Vec<double> c[parts], s[parts];
        for (int part = 0; part < parts; ++part) {
          const Vec<double> bc = load(at + part * lanes<double>);
          const Vec<double> bs = load(at + b_stride + part * lanes<double>);
          c[part] = fms(cc[part], bc, cs[part] * bs);
          s[part] = fma(sc[part], bs, ss[part] * bc);
        }
        // Whole vectors: whoever loads them next would wait for two halves to reach the cache.
        if constexpr (parts == 2) {
          store(cos + t * row + i, to_floats(c[0], c[1]));
          store(sin + t * row + i, to_floats(s[0], s[1]));
        } else {
          store(cos + t * row + i, c[0]);
          store(sin + t * row + i, s[0]);
        }
      }
    }
  }

  /// y = x where the bits of the mask are set.
  template <class U>
  static void blend_into(Index n, const U* mask, const U* x, U* y) {
    for (Index i = 0; i < n; i += lanes<U>)
      store(y + i, blend(load(y + i), load(x + i), load(mask + i)));
  }

  /// Rotates pairs [first, first + count) of all heads of some tokens. Rotary blocks, of `pairs`
  /// pairs, begin at x, `stride` apart from head to head and `row` from token to token; y may be x.
  /// cos and sin are those of pair `first` and on, `angle_row` apart from token to token.
  template <class LayoutT, class X, class Y>
  static void rotate(Index tokens, Index heads, Index first, Index count, Index pairs, const X* x,
                     Index x_row, Index x_stride, Y* y, Index y_row, Index y_stride,
                     const arithmetic_t<X>* cos, const arithmetic_t<X>* sin, Index angle_row) {
    const Shape shape{heads, count, pairs, x_stride, y_stride};
    for (Index t = 0; t < tokens; ++t, x += x_row, y += y_row, cos += angle_row, sin += angle_row)
      if constexpr (std::is_same_v<LayoutT, HalfSplit>)
        in_groups<HalfSplitStep<X, Y>>(shape, x + first, y + first, cos, sin);
      else
        in_groups<InterleavedStep<X, Y>>(shape, x + 2 * first, y + 2 * first, cos, sin);
  }

 private:
  /// Passed by value: through a reference, the compiler would read it again after every store.
  struct Shape {
    Index heads, count, pairs, x_stride, y_stride;
  };

  /// Asks for the `bytes` that lie some tokens ahead. The processor's own prefetching ends at every
  /// page; asking lifts a tensor in memory from 0.8 to all of what memory gives.
  template <std::size_t Bytes>
  static void prefetch(const void* p) {
    constexpr std::size_t ahead = 8192, line = 64;
    for (std::size_t at = 0; at < Bytes; at += line)
      __builtin_prefetch(static_cast<const char*>(p) + ahead + at);
  }

  template <class V>
  static void turn(V& a, V& b, V cos, V sin) {
    const V before = a;
    a = fms(before, cos, b * sin);
    b = fma(before, sin, b * cos);
  }

  /// What a step does with the elements of a few pairs. Memory is to be gone through as fast as it
  /// is read, so coefficients stay in registers while heads go by.
  template <class X, class Y>
  struct HalfSplitStep {
    using U = arithmetic_t<X>;
    static constexpr bool by_blocks = std::is_same_v<X, Y>;
    static constexpr Index width = (by_blocks ? 2 : 1) * lanes<U>;  ///< pairs of a step
    static constexpr int vectors = by_blocks ? 2 : 1;

    static void order(Vec<U>* c) {
      if constexpr (by_blocks) block_order<X>(c[0], c[1]);
    }
    static void run(Shape shape, const X* x, Y* y, const Vec<U>* cos, const Vec<U>* sin) {
      if constexpr (by_blocks) {
        Vec<U> a0, a1, b0, b1;
        const X* second = x + shape.pairs;
        load_block(x, a0, a1);
        pin(a0, a1, second);
        load_block(second, b0, b1);
        pin(b0, b1, x);
        prefetch<2 * lanes<U> * sizeof(X)>(x);
        prefetch<2 * lanes<U> * sizeof(X)>(second);
        turn(a0, b0, cos[0], sin[0]);
        turn(a1, b1, cos[1], sin[1]);
        store_block(y, a0, a1);
        store_block(y + shape.pairs, b0, b1);
      } else {
        Vec<U> a = load(x), b = load(x + shape.pairs);
        turn(a, b, cos[0], sin[0]);
        store(y, a);
        store(y + shape.pairs, b);
      }
    }
    /// n <= lanes pairs
    static void run_first(Shape shape, Index n, const X* x, Y* y, Vec<U> cos, Vec<U> sin) {
      Vec<U> a = load_first(x, n), b = load_first(x + shape.pairs, n);
      turn(a, b, cos, sin);
      store_first(y, a, n);
      store_first(y + shape.pairs, b, n);
    }
    static constexpr Index elements(Index pairs) { return pairs; }
  };

  template <class X, class Y>
  struct InterleavedStep {
    using U = arithmetic_t<X>;
    static constexpr bool words = element_format<X> == ElementFormat::bfloat16 &&
                                  element_format<Y> == ElementFormat::bfloat16;
    static constexpr Index width = lanes<U>;
    static constexpr int vectors = 1;

    static void order(Vec<U>* c) {
      if constexpr (!words) c[0] = pair_order(c[0]);
    }
    static void run(Shape, const X* x, Y* y, const Vec<U>* cos, const Vec<U>* sin) {
      Vec<U> a, b;
      if constexpr (words) {
        load_words(x, a, b);
        prefetch<2 * lanes<U> * sizeof(X)>(x);
        turn(a, b, cos[0], sin[0]);
        store_words(y, a, b);
      } else {
        a = load(x);
        b = load(x + lanes<U>);
        pin(a, b, x);
        prefetch<2 * lanes<U> * sizeof(X)>(x);
        separate(a, b);
        turn(a, b, cos[0], sin[0]);
        interleave(a, b);
        store(y, a);
        store(y + lanes<U>, b);
      }
    }
    static void run_first(Shape, Index n, const X* x, Y* y, Vec<U> cos, Vec<U> sin) {
      const Index low = std::min(2 * n, lanes<U>), high = 2 * n - low;
      Vec<U> a = load_first(x, low), b = load_first(x + low, high);
      separate(a, b);
      turn(a, b, pair_order(cos), pair_order(sin));
      interleave(a, b);
      store_first(y, a, low);
      store_first(y + low, b, high);
    }
    static constexpr Index elements(Index pairs) { return 2 * pairs; }
  };

  /// All pairs of all heads: as many pairs at a time as registers hold coefficients for.
  template <class Step, class X, class Y>
  static void in_groups(Shape shape, const X* x, Y* y, const arithmetic_t<X>* cos,
                        const arithmetic_t<X>* sin) {
    constexpr int most = spare_registers / (2 * Step::vectors);
    Index i = 0;
    const auto group = [&]<int Steps>(std::integral_constant<int, Steps>) {
      for (; i + Steps * Step::width <= shape.count; i += Steps * Step::width)
        all_heads<Step, Steps>(shape, x + Step::elements(i), y + Step::elements(i), cos + i,
                               sin + i);
    };
    if constexpr (most >= 4) group(std::integral_constant<int, 4>{});
    if constexpr (most >= 2) group(std::integral_constant<int, 2>{});
    group(std::integral_constant<int, 1>{});
    using U = arithmetic_t<X>;
    for (; i < shape.count; i += lanes<U>) {
      const Index n = std::min(lanes<U>, shape.count - i), at = Step::elements(i);
      const Vec<U> c = load(cos + i), s = load(sin + i);
      for (Index h = 0; h < shape.heads; ++h)
        Step::run_first(shape, n, x + h * shape.x_stride + at, y + h * shape.y_stride + at, c, s);
    }
  }

  template <class Step, int Steps, class X, class Y>
  static void all_heads(Shape shape, const X* x, Y* y, const arithmetic_t<X>* cos,
                        const arithmetic_t<X>* sin) {
    using U = arithmetic_t<X>;
    constexpr int vectors = Steps * Step::vectors;
    Vec<U> c[vectors], s[vectors];
    // Unrolled by hand: what a loop indexes does not stay in registers.
    unrolled<vectors>([&](int v) {
      c[v] = load(cos + v * lanes<U>);
      s[v] = load(sin + v * lanes<U>);
    });
    unrolled<Steps>([&](int step) {
      Step::order(c + step * Step::vectors);
      Step::order(s + step * Step::vectors);
    });
    for (Index h = 0; h < shape.heads; ++h, x += shape.x_stride, y += shape.y_stride)
      unrolled<Steps>([&](int step) {
        const Index at = Step::elements(step * Step::width);
        Step::run(shape, x + at, y + at, c + step * Step::vectors, s + step * Step::vectors);
      });
  }

  template <int N, class F>
  static void unrolled(F&& f) {
    [&]<int... I>(std::integer_sequence<int, I...>) {
      (f(I), ...);
    }(std::make_integer_sequence<int, N>{});
  }
};
