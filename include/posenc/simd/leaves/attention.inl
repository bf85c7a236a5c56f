// The leaves of the attention kernel, for one instruction set: everything in it that touches many
// numbers at once. Included once within the namespace and the region of each level, after its
// vector.inl.
//
// Tiles lie on their side: keys run down the rows and queries along the lanes of a panel, whose
// width is a multiple of the vector length. So the statistics of the softmax are vectors and need no
// sums across lanes, and keys and values are read as they are stored, one number at a time.

/// (2^f - 1) / f within [-1/2, 1/2]: the minimax polynomial for 2^f, of which a constant of one was taken.
inline Vec<float> power_slope(Vec<float> f) {
  Vec<float> p = broadcast(0x1.41d334p-13F);
  p = fma(p, f, broadcast(0x1.5f456ap-10F));
  p = fma(p, f, broadcast(0x1.3b2dbcp-7F));
  p = fma(p, f, broadcast(0x1.c6aed4p-5F));
  p = fma(p, f, broadcast(0x1.ebfbdap-3F));
  return fma(p, f, broadcast(0x1.62e430p-1F));
}

/// 2^x: exact for whole x, otherwise within 2e-7 relative to it; results below 2^zero_below may be 0; NaN
/// for NaN. x is at most 127.
template <int zero_below = -126>
inline Vec<float> exp2(Vec<float> x) {
  Vec<float> whole;
  const Vec<float> f = fraction(x, whole);
  return scale_by_power<zero_below>(fma(power_slope(f), f, broadcast(1.0F)), whole);
}

/// Weights below 2^zero_weight of the greatest are lost in sums with it, and their products with values may be
/// subnormal, which some processors take hundreds of cycles for.
inline constexpr int zero_weight = -100;

/// Double inputs are for accuracy, not for speed.
template <int zero_below = -126>
inline Vec<double> exp2(Vec<double> x) {
  double lane[lanes<double>];
  store(lane, x);
  for (double& value : lane) value = std::exp2(value);
  return load(lane);
}

struct AttentionLeaves {
  /// Queries side by side in the widest panel, and keys in a tile.
  template <class T>
  static constexpr Index panel = panel_vectors * lanes<T>;
  static constexpr Index tile_keys = 64;
  /// Panels are a multiple of this wide.
  template <class T>
  static constexpr Index panel_step = lanes<T>;

  /// C = A B, or C += A B. A is rows x inner with its elements anywhere, B is inner x width, C is
  /// rows x width; rows of B and of C are `stride` apart. With SkipZeros a zero in B has no effect,
  /// whatever stands in A.
  template <bool Accumulate, bool SkipZeros = false, class T>
  static void product(Index rows, Index inner, Index width, const T* a, Index a_row, Index a_inner,
                      const T* b, T* c, Index stride) {
    if constexpr (SkipZeros) {  // rare, so not worth a width of its own
      for (Index j = 0; j < width; j += lanes<T>)
        product_of_panel<true, 1>(Accumulate, rows, inner, a, a_row, a_inner, b + j, c + j, stride);
    } else {
      product_of_widths(Accumulate, rows, inner, width, a, a_row, a_inner, b, c, stride);
    }
  }

  /// Turns a tile of scores [keys][width] into weights exp(score - shift), and adds them to `sum`.
  /// `shift`, per query, follows the greatest score: it is raised when one exceeds it by more than
  /// `slack`, and then what was summed before has to be multiplied by `factor`. True: some factor is
  /// not one. A score of minus infinity is a weight of zero, whatever the shift.
  template <class T>
  static bool softmax(Index keys, Index width, T* scores, T* shift, T* sum, T* factor) {
    return softmax_of<false, T>(keys, width, scores, shift, sum, factor, nullptr, nullptr);
  }
  /// The same, with what score/softmax_state.hpp calls m and e.
  template <class T>
  static bool softmax_spread(Index keys, Index width, T* scores, T* shift, T* sum, T* factor,
                             T* most, T* spread) {
    return softmax_of<true, T>(keys, width, scores, shift, sum, factor, most, spread);
  }
  template <bool spreads, class T>
  static bool softmax_of(Index keys, Index width, T* scores, T* shift, T* sum, T* factor, T* most,
                         T* spread) {
    const Vec<T> base = broadcast(static_cast<T>(log2_e)), one = broadcast(T{1});
    const Vec<T> lowest = broadcast(std::numeric_limits<T>::lowest());
    bool rises = false;
    for (Index j = 0; j < width; j += lanes<T>) {
      const Vec<T> greatest = greatest_of(keys, width, scores + j), old = load(shift + j);
      Vec<T> before = load(sum + j), subtract = old, change = one;
      Vec<T> wide = broadcast(T{0});  // sum of weight times score - shift
      if constexpr (spreads) {
        store(most + j, maximum(load(most + j), greatest));
        wide = load(spread + j);
      }
      // Each query by itself: what the others of the panel see must not change its rounding.
      const Vec<T> far = greater(greatest, old + broadcast(static_cast<T>(slack)));
      if (any(far)) {
        rises = true;
        subtract = blend(old, greatest, far);
        change = blend(one, exp2((old - subtract) * base), far);
        before = before * change;
        if constexpr (spreads)  // where nothing is left there is nothing to move
          wide = change * wide + before * maximum(lowest, old - subtract);
        store(shift + j, subtract);
      }
      store(factor + j, change);
      // Where nothing was seen the shift is minus infinity, and must not be subtracted from itself.
      subtract = maximum(lowest, subtract);
      Vec<T> total = broadcast(T{0});
      for (Index k = 0; k < keys; ++k) {
        T* const at = scores + k * width + j;
        const Vec<T> above = load(at) - subtract, weight = exp2<zero_weight>(above * base);
        store(at, weight);
        total = total + weight;
        if constexpr (spreads) wide = fma(weight, maximum(lowest, above), wide);
      }
      store(sum + j, before + total);
      if constexpr (spreads) store(spread + j, wide);
    }
    return rises;
  }

  /// Turns a tile of scores [keys][width] into weights exp(score - lse), and `gradient`, that of the
  /// weights, into that of the scores: weight (gradient - delta). A score of minus infinity is a weight
  /// of zero, and what has no weight has no gradient, whatever the rest holds. So is one whose weight lies below
  /// 2^zero_weight (in double 2^-900).
  template <class T>
  static void softmax_backward(Index keys, Index width, T* scores, T* gradient, const T* lse,
                               const T* delta) {
    const Vec<T> base = broadcast(static_cast<T>(log2_e)), zero = broadcast(T{0});
    const Vec<T> lowest = broadcast(std::numeric_limits<T>::lowest());
    const Vec<T> small =
        broadcast(static_cast<T>((sizeof(T) == sizeof(float) ? zero_weight : -900) / log2_e));
    for (Index j = 0; j < width; j += lanes<T>) {
      const Vec<T> shift = load(lse + j), mean = load(delta + j), far = shift + small;
      const Vec<T> least = blend(lowest, far, greater(far, lowest));  // also where lse is NaN
      for (Index k = 0; k < keys; ++k) {
        T* const score = scores + k * width + j;
        T* const slope = gradient + k * width + j;
        const Vec<T> x = load(score);
        const Vec<T> weight = blend(exp2<zero_weight>((x - shift) * base), zero, greater(least, x));
        store(score, weight);
        store(slope, blend(zero, weight * (load(slope) - mean), is_not_zero(weight)));
      }
    }
  }

  /// Turns scores into weights exp(score - lse), by query; a score of minus infinity, and an lse of infinity, into
  /// zero.
  template <class T>
  static void weights(Index keys, Index width, T* scores, const T* lse) {
    const Vec<T> base = broadcast(static_cast<T>(log2_e));
    for (Index j = 0; j < width; j += lanes<T>) {
      const Vec<T> shift = load(lse + j);
      for (Index at = j; at < keys * width; at += width)
        store(scores + at, exp2((load(scores + at) - shift) * base));
    }
  }

  /// Sums of the gates sigmoid(score) of the keys k and above, by query, as whole[k] + rest[k] with a rest below 1: the
  /// sum has the precision of its rest, however many keys there are. `behind` and `rest_behind` are what later keys sum
  /// up to, and become the sums of all.
  template <class T>
  static void sum_gates(Index keys, Index width, const T* scores, T* whole, T* rest, T* behind,
                        T* rest_behind) {
    const Vec<T> base = broadcast(static_cast<T>(log2_e)), one = broadcast(T{1});
    const Vec<T> zero = broadcast(T{0});
    for (Index j = 0; j < width; j += lanes<T>) {
      Vec<T> count = load(behind + j), part = load(rest_behind + j);
      for (Index k = keys; k-- > 0;) {
        // exp(-|x|) is at most 1, and 0 for what is hidden.
        const Vec<T> x = load(scores + k * width + j), positive = greater(x, zero);
        const Vec<T> power = exp2(blend(x, zero - x, positive) * base);
        part = part + blend(power, one, positive) / (one + power);
        const Vec<T> carry = blend(one, zero, greater(one, part));
        part = part - carry;
        count = count + carry;
        store(whole + k * width + j, count);
        store(rest + k * width + j, part);
      }
      store(behind + j, count);
      store(rest_behind + j, part);
    }
  }

  /// Each row of a panel times `factor`, one per query.
  template <class T>
  static void scale_rows(Index rows, Index width, T* x, const T* factor) {
    for (Index r = 0; r < rows; ++r)
      for (Index j = 0; j < width; j += lanes<T>)
        store(x + r * width + j, load(x + r * width + j) * load(factor + j));
  }

  /// Adds rows to one, in their order.
  template <class T>
  static void add_rows(Index rows, Index width, const T* x, T* sum) {
    for (Index j = 0; j < width; j += lanes<T>) {
      Vec<T> total = load(sum + j);
      for (Index r = 0; r < rows; ++r) total = total + load(x + r * width + j);
      store(sum + j, total);
    }
  }

  /// <x, y> of n numbers.
  template <class T>
  static T dot(Index n, const T* x, const T* y) {
    Vec<T> sum = broadcast(T{0});
    Index i = 0;
    for (; i + lanes<T> <= n; i += lanes<T>) sum = fma(load(x + i), load(y + i), sum);
    T lane[lanes<T>];
    store(lane, sum);
    T total = 0;
    for (const T part : lane) total += part;
    for (; i < n; ++i) total += x[i] * y[i];
    return total;
  }

  /// y += factor x, of n numbers.
  template <class T>
  static void add_scaled(Index n, T factor, const T* x, T* y) {
    const Vec<T> times = broadcast(factor);
    Index i = 0;
    for (; i + lanes<T> <= n; i += lanes<T>) store(y + i, fma(load(x + i), times, load(y + i)));
    for (; i < n; ++i) y[i] += factor * x[i];
  }

  /// sum += turn (x_a d_b - x_b d_a), of n pairs. A d of zero hides its x.
  template <class T>
  static void add_turns(Index n, const T* turn, const T* x_a, const T* x_b, const T* d_a,
                        const T* d_b, T* sum) {
    const Vec<T> zero = broadcast(T{0});
    Index i = 0;
    for (; i + lanes<T> <= n; i += lanes<T>) {
      const Vec<T> a = load(d_a + i), b = load(d_b + i);
      const Vec<T> area = blend(zero, load(x_a + i) * b, is_not_zero(b)) -
                          blend(zero, load(x_b + i) * a, is_not_zero(a));
      store(sum + i, fma(load(turn + i), area, load(sum + i)));
    }
    for (; i < n; ++i) {
      const T plus = d_b[i] == 0 ? T{0} : x_a[i] * d_b[i];
      sum[i] += turn[i] * (plus - (d_a[i] == 0 ? T{0} : x_b[i] * d_a[i]));
    }
  }

  /// Copies n values as numbers; true when none of them is infinite or NaN.
  template <class X>
  static bool copy_finite(Index n, const X* x, arithmetic_t<X>* y) {
    using T = arithmetic_t<X>;
    Vec<T> zero = broadcast(T{0});
    Index i = 0;
    for (; i + lanes<T> <= n; i += lanes<T>) {
      const Vec<T> v = load(x + i);
      zero = fma(v, broadcast(T{0}), zero);
      store(y + i, v);
    }
    T rest = 0;
    for (; i < n; ++i) rest += (y[i] = widen(x[i])) * 0;
    T lane[lanes<T>];
    store(lane, zero);
    for (const T value : lane) rest += value;
    return rest == 0;
  }

  /// Replaces each score x of a tile by f(x, key, query), where f is whatever was asked for: it is
  /// inlined, and steps of fixed length over an array of its own let a compiler vectorise it.
  template <class T, class F>
  __attribute__((flatten)) static void map(Index keys, Index width, T* scores, const F& f) {
    const F own = f;  // a copy that no store to the scores can change
    for_steps<T>(keys, width, [&]<Index n>(std::integral_constant<Index, n>, Index k, Index j) {
      T y[n];
      T* const at = scores + k * width + j;
      for (Index i = 0; i < n; ++i) y[i] = own(at[i], k, j + i);
      copy_step(y, at);
    });
  }

  /// Copies n numbers of a step as vectors. GCC makes 16 bytes at a time of a loop, and a processor waits where a
  /// vector is read that was stored in such pieces.
  template <class T, std::size_t n>
  static void copy_step(const T (&from)[n], T* to) {
    for (std::size_t i = 0; i < n; i += lanes<T>) store(to + i, load(from + i));
  }

  /// y = x where `kind` is `which`; n numbers, whole vectors.
  template <class T>
  static void choose(Index n, const std::int32_t* kind, std::int32_t which, const T* x, T* y) {
    map(1, n, y, [=](T old, Index, Index i) {
      const T other =
          x[i];  // read in any case: compilers make no vectors of loads that a condition might skip
      return kind[i] == which ? other : old;
    });
  }

  /// f(number of queries, key, first query) for all of a tile: a cache line at a time, and then a vector.
  template <class T, class F>
  static void for_steps(Index keys, Index width, const F& f) {
    constexpr Index step = 64 / sizeof(T);
    for (Index k = 0; k < keys; ++k) {
      Index j = 0;
      for (; j + step <= width; j += step) f(std::integral_constant<Index, step>{}, k, j);
      if constexpr (lanes<T> < step)
        for (; j < width; j += lanes<T>) f(std::integral_constant<Index, lanes<T>>{}, k, j);
    }
  }

 private:
  /// Weights may reach e^6 before what was summed is rescaled: far from overflow, and rescaling
  /// becomes rare.
  static constexpr int slack = 6;
  static constexpr double log2_e = 1.442695040888963407359924681;

  /// Compiled once: whether a sum is added or stored is asked when it is complete.
  template <class T>
  __attribute__((noinline)) static void product_of_widths(bool accumulate, Index rows, Index inner,
                                                          Index width, const T* a, Index a_row,
                                                          Index a_inner, const T* b, T* c,
                                                          Index stride) {
    Index j = 0;
    const auto panels_of = [&]<int Vectors>(std::integral_constant<int, Vectors>) {
      for (; j + Vectors * lanes<T> <= width; j += Vectors * lanes<T>)
        product_of_panel<false, Vectors>(accumulate, rows, inner, a, a_row, a_inner, b + j, c + j,
                                         stride);
    };
    panels_of(std::integral_constant<int, panel_vectors>{});
    if constexpr (panel_vectors > 2) panels_of(std::integral_constant<int, 2>{});
    panels_of(std::integral_constant<int, 1>{});
  }

  template <bool SkipZeros, int Vectors, class T>
  static void product_of_panel(bool accumulate, Index rows, Index inner, const T* a, Index a_row,
                               Index a_inner, const T* b, T* c, Index stride) {
    constexpr int fit = block_sums / Vectors, most_rows = SkipZeros ? 4 : fit < 8 ? fit : 8;
    Index r = 0;
    const auto blocks_of = [&]<int Rows>(std::integral_constant<int, Rows>) {
      for (; r + Rows <= rows; r += Rows)
        block<SkipZeros, Rows, Vectors>(accumulate, inner, a + r * a_row, a_row, a_inner, b,
                                        c + r * stride, stride);
    };
    blocks_of(std::integral_constant<int, most_rows>{});
    // Tiles and channels are multiples of eight, but not of six.
    if constexpr (most_rows > 4 && most_rows < 8) blocks_of(std::integral_constant<int, 4>{});
    blocks_of(std::integral_constant<int, 1>{});
  }

  /// Rows x Vectors sums stay in registers from the first product to the last. A tile is summed by
  /// itself and then added: over many keys of equal weight, one running sum would round the same way
  /// each time.
  template <bool SkipZeros, int Rows, int Vectors, class T>
  static void block(bool accumulate, Index inner, const T* a, Index a_row, Index a_inner,
                    const T* b, T* c, Index stride) {
    Vec<T> sum[Rows][Vectors];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sum[r][v] = broadcast(T{0});
    for (Index i = 0; i < inner; ++i, a += a_inner, b += stride) {
      Vec<T> right[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) right[v] = load(b + v * lanes<T>);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const Vec<T> left = broadcast(a[r * a_row]);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) {
          if constexpr (SkipZeros)
            sum[r][v] = blend(sum[r][v], fma(left, right[v], sum[r][v]), is_not_zero(right[v]));
          else
            sum[r][v] = fma(left, right[v], sum[r][v]);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) {
        T* const at = c + r * stride + v * lanes<T>;
        if (accumulate) sum[r][v] = load(at) + sum[r][v];
        store(at, sum[r][v]);
      }
  }

  /// Of some keys, the greatest score of each query of a vector. NaN is passed over.
  template <class T>
  static Vec<T> greatest_of(Index keys, Index width, const T* scores) {
    constexpr int chains = 4;  // so that one comparison does not wait for another
    const Vec<T> least = broadcast(-std::numeric_limits<T>::infinity());
    Vec<T> greatest[chains] = {least, least, least, least};
    Index k = 0;
    for (; k + chains <= keys; k += chains)
#pragma GCC unroll 4
      for (int i = 0; i < chains; ++i)
        greatest[i] = maximum(greatest[i], load(scores + (k + i) * width));
    for (; k < keys; ++k) greatest[0] = maximum(greatest[0], load(scores + k * width));
    return maximum(maximum(greatest[0], greatest[1]), maximum(greatest[2], greatest[3]));
  }
};
