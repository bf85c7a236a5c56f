// The loops of the lab over many numbers, for one instruction set. Included once within the namespace and the
// region of each level, after the leaves of attention.

struct LabLeaves {
  /// C = A B, or C += A B with `add`. A is rows x inner, B is inner x columns, and their elements lie anywhere; rows of
  /// C are `c_row` apart. B is copied into panels that registers are wide enough for and the first-level cache holds.
  static void product(Index rows, Index inner, Index columns, const lab::MatrixElements& a,
                      const lab::MatrixElements& b, bool add, float* c, Index c_row) {
    alignas(64) float packed[most_inner * panel];
    for (Index from = 0; from < inner; from += most_inner, add = true) {
      const Index depth = std::min(most_inner, inner - from);
      for (Index j = 0; j < columns; j += panel) {
        const Index width = std::min(panel, columns - j);
        pack(depth, width, b.from(from, j), packed);
        multiply_panel(rows, depth, width, a.from(0, from), packed, add, c + j, c_row);
      }
    }
  }

  /// y = x sigmoid(2 u), which is 0.5 x (1 + tanh u), and its slope; see layers.hpp.
  __attribute__((flatten)) static void gelu(Index n, const float* x, float* y, float* slope) {
    constexpr float a = 0.7978845608F, b = 0.044715F, log2_e = 1.442695041F;
    const Vec<float> one = broadcast(1.0F);
    for_vectors(n, [&](Index i, auto memory) {
      const Vec<float> v = memory.get(x + i), square = v * v;
      const Vec<float> two_u = broadcast(2 * a) * v * fma(broadcast(b), square, one);
      // 2^126 is as good as infinity here, and exp2() takes no more than 127.
      const Vec<float> falls =
          exp2(zero() - maximum(broadcast(-126.0F), two_u * broadcast(log2_e)));
      const Vec<float> part = one / (one + falls);
      const Vec<float> two_du = broadcast(2 * a) * fma(broadcast(3 * b), square, one);
      memory.put(y + i, v * part);
      memory.put(slope + i, fma(v * part * (one - part), two_du, part));
    });
  }

  /// x *= y
  __attribute__((flatten)) static void multiply(Index n, float* x, const float* y) {
    for_vectors(n, [&](Index i, auto memory) {
      memory.put(x + i, memory.get(x + i) * memory.get(y + i));
    });
  }

  /// RMSNorm of one row; returns 1 / rms(x).
  __attribute__((flatten)) static float norm(Index n, const float* x, const float* gain, float* y) {
    Vec<float> squares = zero();
    for_vectors(n, [&](Index i, auto memory) {
      const Vec<float> v = memory.get(x + i);
      squares = fma(v, v, squares);
    });
    const float inverse = 1 / std::sqrt(total(squares) / static_cast<float>(n) + 1e-5F);
    for_vectors(n, [&](Index i, auto memory) {
      memory.put(y + i, memory.get(x + i) * broadcast(inverse) * memory.get(gain + i));
    });
    return inverse;
  }
  __attribute__((flatten)) static void norm_backward(Index n, const float* x, const float* gain,
                                                     float inverse, const float* dy, float* dx,
                                                     float* d_gain) {
    Vec<float> products = zero();
    const Vec<float> scale = broadcast(inverse);
    for_vectors(n, [&](Index i, auto memory) {
      const Vec<float> both = memory.get(dy + i) * memory.get(x + i);
      products = fma(both, memory.get(gain + i), products);
      memory.put(d_gain + i, fma(both, scale, memory.get(d_gain + i)));
    });
    const Vec<float> along = broadcast(total(products) * inverse * inverse / static_cast<float>(n));
    for_vectors(n, [&](Index i, auto memory) {
      const Vec<float> through =
          memory.get(dy + i) * memory.get(gain + i) - along * memory.get(x + i);
      memory.put(dx + i, fma(scale, through, memory.get(dx + i)));
    });
  }

  /// y = exp(x - shift), whose sum is returned; no x is greater than the shift by much. y may be x.
  __attribute__((flatten)) static float exponentials(Index n, const float* x, float shift,
                                                     float* y) {
    Vec<float> sum = zero();
    Index i = 0;
    for (; i + lanes<float> <= n; i += lanes<float>) {
      const Vec<float> v = exp2((load(x + i) - broadcast(shift)) * broadcast(1.442695041F));
      sum = sum + v;
      store(y + i, v);
    }
    float rest = total(sum);
    for (; i < n; ++i) rest += y[i] = std::exp(x[i] - shift);
    return rest;
  }

 private:
  static constexpr Index panel = panel_vectors * lanes<float>, most_inner = 128;

  static Vec<float> zero() { return broadcast(0.0F); }
  static float total(Vec<float> v) {
    float lane[lanes<float>], sum = 0;
    store(lane, v);
    for (const float x : lane) sum += x;
    return sum;
  }
  /// Calls f(i, memory) for vectors of n numbers. The last may be shorter: what is read is followed by zeros, and what
  /// is too much is not written.
  template <class F>
  static void for_vectors(Index n, const F& f) {
    Index i = 0;
    for (; i + lanes<float> <= n; i += lanes<float>) f(i, Whole{});
    if (i < n) f(i, First{n - i});
  }
  struct Whole {
    static Vec<float> get(const float* p) { return load(p); }
    static void put(float* p, Vec<float> v) { store(p, v); }
  };
  struct First {
    Index n;
    Vec<float> get(const float* p) const { return load_first(p, n); }
    void put(float* p, Vec<float> v) const {
      float lane[lanes<float>];
      store(lane, v);
      std::copy_n(lane, n, p);
    }
  };

  /// Columns of B side by side, zeros beyond them.
  static void pack(Index depth, Index width, const lab::MatrixElements& b, float* packed) {
    if (b.column == 1 && width == panel) {
      for (Index i = 0; i < depth; ++i)
        for (Index j = 0; j < panel; j += lanes<float>)
          store(packed + i * panel + j, load(b.data + i * b.row + j));
      return;
    }
    const Index down = b.row == 1 ? depth / 4 * 4 : 0, across = width / 4 * 4;  // in squares
    for (Index j = 0; j < across; j += 4)
      for (Index i = 0; i < down; i += 4)
        transpose_square<float>(b.data + i + j * b.column, b.column, nullptr,
                                packed + i * panel + j, panel, nullptr);
    for (Index i = 0; i < depth; ++i) {
      for (Index j = i < down ? across : 0; j < width; ++j)
        packed[i * panel + j] = b.data[i * b.row + j * b.column];
      std::fill_n(packed + i * panel + width, panel - width, 0.0F);
    }
  }

  static void multiply_panel(Index rows, Index depth, Index width, const lab::MatrixElements& a,
                             const float* packed, bool add, float* c, Index c_row) {
    Index r = 0;
    const auto blocks_of = [&]<int Rows>(std::integral_constant<int, Rows>) {
      for (; r + Rows <= rows; r += Rows)
        if (width == panel) {
          block<Rows>(depth, a.from(r, 0), packed, add, c + r * c_row, c_row);
        } else {
          float part[Rows * panel];
          block<Rows>(depth, a.from(r, 0), packed, false, part, panel);
          for (Index i = 0; i < Rows; ++i)
            for (Index j = 0; j < width; ++j) {
              float& to = c[(r + i) * c_row + j];
              to = add ? to + part[i * panel + j] : part[i * panel + j];
            }
        }
    };
    blocks_of(std::integral_constant<int, block_sums / panel_vectors>{});
    blocks_of(std::integral_constant<int, 1>{});
  }

  /// Rows of C within a panel, whose sums stay in registers.
  template <int Rows>
  static void block(Index depth, const lab::MatrixElements& a, const float* b, bool add, float* c,
                    Index c_row) {
    Vec<float> sum[Rows][panel_vectors];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < panel_vectors; ++v) sum[r][v] = zero();
    const float* left = a.data;
    const Index row = a.row, column = a.column;
    for (Index i = 0; i < depth; ++i, left += column, b += panel) {
      Vec<float> right[panel_vectors];
#pragma GCC unroll 4
      for (int v = 0; v < panel_vectors; ++v) right[v] = load(b + v * lanes<float>);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const Vec<float> x = broadcast(left[r * row]);
#pragma GCC unroll 4
        for (int v = 0; v < panel_vectors; ++v) sum[r][v] = fma(x, right[v], sum[r][v]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < panel_vectors; ++v) {
        float* const at = c + r * c_row + v * lanes<float>;
        store(at, add ? load(at) + sum[r][v] : sum[r][v]);
      }
  }
};
