// The loops of long convolutions and of state spaces, for one instruction set. Included once within the namespace and
// the region of each level. Rows are 16 doubles, one for each of 16 neighbouring channels.

struct ConvolutionLeaves {
  static constexpr Index columns = 16, width = lanes<double>;
  /// Vectors that stand side by side in a tile of the direct form, and its rows.
  static constexpr int side = columns / width < 2 ? 1 : 2, tile_rows = block_sums / side;

  /// y[i] = the sum of h[k] u[i - k] over k < taps, for some rows i, of which row 0 has `before` rows before it. There
  /// are tile_rows - 1 rows of zeros before those.
  static void direct(Index rows, Index taps, Index before, const double* u, const double* h,
                     double* y) {
    Index i = 0;
    for (; i + tile_rows <= rows; i += tile_rows)
      direct_tile<tile_rows, 1>(std::min(taps, before + i + tile_rows), u + i * columns, h,
                                y + i * columns);
    for (; i < rows; ++i)
      direct_tile<1, 4>(std::min(taps, before + i + 1), u + i * columns, h, y + i * columns);
  }

  /// One token after another through diagonal state spaces: x = a x + u, and y += the sum of Re(c x). Of each pair
  /// `modes` has the rows Re a, Im a, Re c, Im c, and x the rows Re x, Im x.
  static void diagonal(Index tokens, Index pairs, const double* modes, double* x, const double* u,
                       double* y) {
    for (Index v = 0; v < columns; v += width)
      for (Index t = 0; t < tokens; ++t) {
        const Vec<double> in = load(u + t * columns + v);
        Vec<double> out = load(y + t * columns + v), imaginary = broadcast(0.0);
        for (Index n = 0; n < pairs; ++n) {
          const double* const m = modes + 4 * n * columns + v;
          double* const at = x + 2 * n * columns + v;
          const Vec<double> re = load(at), im = load(at + columns), a_re = load(m),
                            a_im = load(m + columns);
          const Vec<double> next_re = fma(a_re, re, in) - a_im * im;
          const Vec<double> next_im = fma(a_re, im, a_im * re);
          store(at, next_re), store(at + columns, next_im);
          out = fma(load(m + 2 * columns), next_re, out);
          imaginary = fma(load(m + 3 * columns), next_im, imaginary);
        }
        store(y + t * columns + v, out - imaginary);
      }
  }

  /// One token after another through state spaces of diagonal plus low rank: with s = Re(p x),
  ///
  ///   w = e x - f s + g u      x = w - f k Re(p w)      y += Re(c x)       summed over the pairs of p and c
  ///
  /// Of each pair `modes` has the real and imaginary rows of e, f, g, p and c; a row of k stands before all of them.
  static void low_rank(Index tokens, Index pairs, const double* modes, double* x, const double* u,
                       double* y) {
    for (Index v = 0; v < columns; v += width) {
      const Vec<double> zero = broadcast(0.0), k = load(modes + v);
      const double* const first = modes + columns + v;
      Vec<double> s = zero;
      for (Index n = 0; n < pairs; ++n)
        add_real(first + (10 * n + 6) * columns, load(x + 2 * n * columns + v),
                 load(x + (2 * n + 1) * columns + v), s);
      for (Index t = 0; t < tokens; ++t) {
        const Vec<double> in = load(u + t * columns + v);
        Vec<double> q = zero;
        for (Index n = 0; n < pairs; ++n) {
          const double* const m = first + 10 * n * columns;
          double* const at = x + 2 * n * columns + v;
          const Vec<double> re = load(at), im = load(at + columns), e_re = load(m),
                            e_im = load(m + columns);
          const Vec<double> w_re =
              fma(load(m + 4 * columns), in, e_re * re) - fma(e_im, im, load(m + 2 * columns) * s);
          const Vec<double> w_im =
              fma(load(m + 5 * columns), in, e_re * im) + fms(e_im, re, load(m + 3 * columns) * s);
          store(at, w_re), store(at + columns, w_im);
          add_real(m + 6 * columns, w_re, w_im, q);
        }
        q = q * k;
        Vec<double> out = load(y + t * columns + v);
        s = zero;
        for (Index n = 0; n < pairs; ++n) {
          const double* const m = first + 10 * n * columns;
          double* const at = x + 2 * n * columns + v;
          const Vec<double> re = load(at) - load(m + 2 * columns) * q,
                            im = load(at + columns) - load(m + 3 * columns) * q;
          store(at, re), store(at + columns, im);
          add_real(m + 6 * columns, re, im, s);
          add_real(m + 8 * columns, re, im, out);
        }
        store(y + t * columns + v, out);
      }
    }
  }

 private:
  /// sum += Re(a x), with the rows Re a and Im a.
  static void add_real(const double* a, const Vec<double>& re, const Vec<double>& im,
                       Vec<double>& sum) {
    sum = fma(load(a), re, sum) - load(a + columns) * im;
  }

  /// Rows of y, each of them `partial` sums over every partial-th tap, which are added in the end: a lone row would
  /// wait for itself.
  template <int rows, int partial>
  static void direct_tile(Index taps, const double* u, const double* h, double* y) {
    for (Index v = 0; v < columns; v += side * width) {
      Vec<double> sums[partial][rows][side];
#pragma GCC unroll 4
      for (int p = 0; p < partial; ++p)
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
          for (int j = 0; j < side; ++j) sums[p][r][j] = broadcast(0.0);
      Index k = 0;
      const auto add = [&](int p, Index tap) {
        Vec<double> filter[side];
#pragma GCC unroll 4
        for (int j = 0; j < side; ++j) filter[j] = load(h + tap * columns + v + j * width);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
          for (int j = 0; j < side; ++j)
            sums[p][r][j] =
                fma(filter[j], load(u + (r - tap) * columns + v + j * width), sums[p][r][j]);
      };
      for (; k + partial <= taps; k += partial)
#pragma GCC unroll 4
        for (int p = 0; p < partial; ++p) add(p, k + p);
      for (; k < taps; ++k) add(0, k);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int j = 0; j < side; ++j) {
          Vec<double> sum = sums[0][r][j];
#pragma GCC unroll 4
          for (int p = 1; p < partial; ++p) sum = sum + sums[p][r][j];
          store(y + r * columns + v + j * width, sum);
        }
    }
  }
};
