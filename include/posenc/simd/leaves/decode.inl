// The leaves of decoding, for one instruction set: a few rows of queries against keys and values as a
// cache keeps them. Included once within the namespace and the region of each level, after its
// vector.inl, attention.inl, across_lanes.inl and prefetcher.inl.
//
// Each key and value is read once from memory, for as many rows as registers have sums for, and
// becomes numbers on its way into a register. Rows of scores run along the keys. Rows of queries,
// scores and outputs are padded to whole vectors, queries with zeros.

struct DecodeLeaves {
  /// scores[r][k] = <q_r, k_k>. Rows of scores have room for a multiple of 16.
  template <class T>
  static void dots(Index rows, Index keys, Index width, const arithmetic_t<T>* q, Index q_row,
                   const T* k, Index k_row, arithmetic_t<T>* scores, Index scores_row,
                   simd::ReadNext next) {
    in_chunks_of_keys<false>(rows, keys, q, q_row, k, k_row, scores, scores_row, next,
                             [=](auto& dots, const auto& queries, Index) __attribute__((
                                 always_inline)) { dots.channels(0, width, queries); });
  }

  /// The same with keys that are turned on their way: `turn` has their cosines and sines, and the
  /// channels of the rotary block. Rows of keys have no gaps.
  template <class LayoutT, class T>
  static void rotated_dots(Index rows, Index keys, Index width, const arithmetic_t<T>* q,
                           Index q_row, const T* k, const simd::KeyAngles<arithmetic_t<T>>& turn,
                           arithmetic_t<T>* scores, Index scores_row, simd::ReadNext next) {
    const Index end = turn.offset + 2 * turn.pairs;
    in_chunks_of_keys<true>(
        rows, keys, q, q_row, k, width, scores, scores_row, next,
        [=](auto& dots, const auto& queries, Index key) __attribute__((always_inline)) {
          dots.template pairs<LayoutT>(turn, key, queries);
          if (end - turn.offset == width) return;
          for (const bool after : {false, true})
            dots.channels(after ? end : 0, after ? width : turn.offset, queries);
        });
  }

  /// out[r] += sum over keys of weights[r][k] values[k]. With SkipZeros a weight of zero has no
  /// effect, whatever the value.
  template <bool SkipZeros, class T>
  static void add_values(Index rows, Index keys, Index width, const arithmetic_t<T>* weights,
                         Index weights_row, const T* values, arithmetic_t<T>* out, Index out_row,
                         simd::ReadNext next) {
    for (Index first = 0; first < keys; first += chunk<T>) {
      const auto add = [=]<int Rows>(std::integral_constant<int, Rows>, Index r) {
        Prefetcher<is_busy<Rows>> prefetcher(values, keys * width * Index{sizeof(T)}, 0,
                                             r == 0 ? next : simd::ReadNext{});
        prefetcher.go_to(first * width * Index{sizeof(T)});
        const RowPointers<Rows, const U_<T>> weight(weights + first, weights_row, r, rows);
        const RowPointers<Rows, U_<T>> sum(out, out_row, r, rows);
        values_of_rows<SkipZeros>(std::min(chunk<T>, keys - first), width, weight,
                                  values + first * width, sum, prefetcher);
      };
      if constexpr (SkipZeros)  // rare, and not worth several rows at a time
        for (Index r = 0; r < rows; ++r) add(std::integral_constant<int, 1>{}, r);
      else
        in_rows<true>(rows, add);
    }
  }

  /// Turns a row of scores, whole vectors of them, into weights exp(score - shift) and adds these to
  /// `sum`. The shift follows the greatest score, as in softmax() of attention.inl; what was summed
  /// before has to be multiplied by the result.
  template <class U>
  static U softmax_row(Index keys, U* scores, U& shift, U& sum) {
    return softmax_row_of<false, U>(keys, scores, shift, sum, nullptr, nullptr);
  }
  /// The same, with what score/softmax_state.hpp calls m and e.
  template <class U>
  static U softmax_row_spread(Index keys, U* scores, U& shift, U& sum, U* greatest, U* spread) {
    return softmax_row_of<true, U>(keys, scores, shift, sum, greatest, spread);
  }
  template <bool spreads, class U>
  static U softmax_row_of(Index keys, U* scores, U& shift, U& sum, U* most_of_all, U* spread) {
    constexpr U slack = 6, log2_e = U(1.442695040888963407359924681);
    Vec<U> greatest = broadcast(-std::numeric_limits<U>::infinity());
    for (Index k = 0; k < keys; k += lanes<U>) greatest = maximum(greatest, load(scores + k));
    U lane[lanes<U>];
    store(lane, maximum_across<U>(greatest));
    const U most = lane[0];
    U factor = 1;
    if (most > shift + slack) {
      store(lane, exp2(broadcast((shift - most) * log2_e)));
      factor = lane[0];
      if constexpr (spreads)
        *spread = factor * *spread +
                  factor * sum * std::max(std::numeric_limits<U>::lowest(), shift - most);
      shift = most;
    }
    // Where nothing was seen the shift is minus infinity, and must not be subtracted from itself.
    const Vec<U> subtract = broadcast(
        shift > std::numeric_limits<U>::lowest() ? shift : std::numeric_limits<U>::lowest());
    Vec<U> total = broadcast(U{0}), wide = total;
    for (Index k = 0; k < keys; k += lanes<U>) {
      const Vec<U> above = load(scores + k) - subtract,
                   weight = exp2<zero_weight>(above * broadcast(log2_e));
      store(scores + k, weight);
      total = total + weight;
      if constexpr (spreads)
        wide = fma(weight, maximum(broadcast(std::numeric_limits<U>::lowest()), above), wide);
    }
    store(lane, total_across<U>(total));
    sum = sum * factor + lane[0];
    if constexpr (spreads) {
      if (most > *most_of_all) *most_of_all = most;
      store(lane, total_across<U>(wide));
      *spread += lane[0];
    }
    return factor;
  }

  /// Numbers as elements.
  template <class T>
  static void narrow_row(Index n, const arithmetic_t<T>* x, T* y) {
    Index i = 0;
    for (; i + lanes<arithmetic_t<T>> <= n; i += lanes<arithmetic_t<T>>) store(y + i, load(x + i));
    for (; i < n; ++i) y[i] = narrow<T>(x[i]);
  }

  /// y = mine y + theirs x; a factor of zero leaves nothing, whatever it is multiplied with. Whole
  /// vectors.
  template <class U>
  static void combine(Index n, U mine, U* y, U theirs, const U* x) {
    for (Index i = 0; i < n; i += lanes<U>) {
      const Vec<U> kept = mine == 0 ? broadcast(U{0}) : load(y + i) * broadcast(mine);
      store(y + i, theirs == 0 ? kept : fma(load(x + i), broadcast(theirs), kept));
    }
  }

 private:
  template <class T>
  using U_ = arithmetic_t<T>;

  /// Do so many rows of queries compute while they wait for memory? One row does where vectors are short.
  template <int Rows>
  static constexpr bool is_busy = Rows > 1 || lanes<float> < 16;

  /// Rows of keys or values that all rows of queries meet before the next ones are read.
  template <class T>
  static constexpr Index chunk = 64 / sizeof(T);

  /// Vectors of elements T that lie in a line.
  template <class T>
  static constexpr int line_vectors = cache_line / (lanes<U_<T>> * Index{sizeof(T)});

  /// Calls f(number, first) until all rows had their turn, four at a time; the number is that of the rows
  /// that f is compiled for. Two rows have code of their own where `Two` says so.
  template <bool Two, class F>
  static void in_rows(Index rows, const F& f) {
    for (Index r = 0; r < rows; r += 4)
      if (rows - r == 1)
        f(std::integral_constant<int, 1>{}, r);
      else if (Two && rows - r == 2)
        f(std::integral_constant<int, Two ? 2 : 4>{}, r);
      else
        f(std::integral_constant<int, 4>{}, r);
  }

  /// Rows [first, first + Rows). What would be beyond the last row is the last one once more: it is computed
  /// and written again, which takes no longer than one row after the other.
  template <int Rows, class U>
  class RowPointers {
   public:
    RowPointers(U* x, Index row, Index first, Index rows) {
      for (int r = 0; r < Rows; ++r) row_[r] = x + std::min(first + r, rows - 1) * row;
    }
    U* operator[](int r) const { return row_[r]; }

   private:
    U* row_[Rows];
  };

  /// scores[r][key] for all rows and keys, where add(dots, queries, key) adds the products of a few.
  template <bool Turns, class T, class F>
  static void in_chunks_of_keys(Index rows, Index keys, const U_<T>* q, Index q_row, const T* k,
                                Index k_row, U_<T>* scores, Index scores_row, simd::ReadNext next,
                                const F& add) {
    for (Index from = 0; from < keys; from += chunk<T>)
      in_rows<!Turns>(rows, [=]<int Rows>(std::integral_constant<int, Rows>, Index r) {
        constexpr bool busy = Turns || is_busy<Rows>;
        constexpr int sums = lanes<U_<T>> < 8 ? 8 : lanes<U_<T>>, columns = sums / Rows;
        // Keys are read together, so that sums do not wait for one another. A row by itself waits for memory
        // most of the time, and memory is fastest in its order.
        constexpr int keys_that_fit = std::min(columns, Rows == 1 ? 2 : spare_registers / 4);
        using D = Dots<Rows, busy ? keys_that_fit : 1, T, busy>;
        const RowPointers<Rows, const U_<T>> queries(q, q_row, r, rows);
        const RowPointers<Rows, U_<T>> to(scores, scores_row, r, rows);
        for (Index first = from; first < std::min(from + chunk<T>, keys); first += columns) {
          constexpr Index bytes = sizeof(T);
          Prefetcher<busy> prefetcher(k, keys * k_row * bytes, D::together * k_row * bytes,
                                      r == 0 ? next : simd::ReadNext{});
          prefetcher.go_to(first * k_row * bytes);
          Vec<U_<T>> sum[sums];  // [Rows][columns]
          for (Index key = 0; key < columns; key += D::together) {
            D dots(k, k_row, first + key, keys, prefetcher);
            add(dots, queries, first + key);
            dots.sums(sum + key, columns);
          }
          U_<T> result[sums];
#pragma GCC unroll 4
          for (int i = 0; i < sums; i += int{lanes<U_<T>>}) {
            sum_across<U_<T>>(sum + i);
            store(result + i, sum[i]);
          }
          for (int row = 0; row < Rows; ++row)
            std::memcpy(to[row] + first, result + row * columns, columns * sizeof(U_<T>));
        }
      });
  }

  /// Dot products of some rows of queries with the keys that are read together, in registers from the
  /// first channel to the last: the sums stay there only when all of it is one function.
  template <int Rows, int Together, class T, bool Busy>
  struct Dots {
    using U = arithmetic_t<T>;
    using Queries = RowPointers<Rows, const U>;
    static constexpr int together = Together;

    /// Keys from `first` on; beyond the last key the last one is read again.
    __attribute__((always_inline)) Dots(const T* k, Index k_row, Index first, Index keys,
                                        Prefetcher<Busy>& prefetcher)
        : prefetcher_(prefetcher) {
#pragma GCC unroll 4
      for (int i = 0; i < together; ++i) row_[i] = k + std::min(first + i, keys - 1) * k_row;
#pragma GCC unroll 16
      for (int i = 0; i < Rows * together; ++i) sum_[i] = broadcast(U{0});
    }

    /// Channels [begin, end) as they are, a line at a time.
    __attribute__((always_inline)) void channels(Index begin, Index end, const Queries& q) {
      constexpr Index whole_line = line_vectors<T> * lanes<U>;
      Index c = begin;
      for (; c + whole_line <= end; c += whole_line) {
        prefetch(cache_line);
#pragma GCC unroll 2
        for (int v = 0; v < line_vectors<T>; ++v)
          step(std::true_type{}, c + v * lanes<U>, lanes<U>, q);
      }
      if (c < end) prefetch((end - c) * Index{sizeof(T)});
      for (; c < end; c += lanes<U>) step(std::false_type{}, c, std::min(lanes<U>, end - c), q);
    }

    /// All pairs of the rotary block. Angles beyond those of the last key are read and not used.
    template <class LayoutT>
    __attribute__((always_inline)) void pairs(const simd::KeyAngles<U>& turn, Index first,
                                              const Queries& q) {
      const U *cos[together], *sin[together];
#pragma GCC unroll 4
      for (int i = 0; i < together; ++i) {
        cos[i] = turn.cos + (first + i) * turn.row;
        sin[i] = turn.sin + (first + i) * turn.row;
      }
      Index i = 0;
      for (; i + lanes<U> <= turn.pairs; i += lanes<U>)
        pair_step<LayoutT>(std::true_type{}, turn, i, lanes<U>, cos, sin, q);
      if (i < turn.pairs)
        pair_step<LayoutT>(std::false_type{}, turn, i, turn.pairs - i, cos, sin, q);
    }

    /// to[r][key]: a vector for each, whose lanes are yet to be added.
    __attribute__((always_inline)) void sums(Vec<U>* to, int columns) {
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < together; ++i) to[r * columns + i] = sum_[r * together + i];
    }

   private:
    /// So many bytes of each of the keys that are read together have been read.
    __attribute__((always_inline)) void prefetch(Index bytes) {
#pragma GCC unroll 4
      for (int i = 0; i < together; ++i) prefetcher_.advance(bytes);
    }

    /// A vector of each key, from channel c on.
    template <bool Whole>
    __attribute__((always_inline)) void step(std::bool_constant<Whole>, Index c,
                                             [[maybe_unused]] Index n, const Queries& q) {
      Vec<U> key[together];
#pragma GCC unroll 4
      for (int i = 0; i < together; ++i) {
        key[i] = Whole ? load(row_[i] + c) : load_first(row_[i] + c, n);
        pin(key[i]);
      }
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) {
        const U* const at = q[r] + c;
        Vec<U> query = Whole ? load(at) : load_first(at, n);
        pin(query);
#pragma GCC unroll 4
        for (int i = 0; i < together; ++i) {
          Vec<U>& to = sum_[r * together + i];
          to = fma(query, key[i], to);
        }
      }
    }

    /// The two elements of n <= lanes pairs from i on, in an order of the layout.
    template <class LayoutT, bool Whole, class X>
    __attribute__((always_inline)) static void load_pairs(const X* x, Index i, Index n, Index pairs,
                                                          Vec<U>& a, Vec<U>& b) {
      if constexpr (std::is_same_v<LayoutT, HalfSplit>) {
        a = Whole ? load(x + i) : load_first(x + i, n);
        b = Whole ? load(x + pairs + i) : load_first(x + pairs + i, n);
      } else {
        const Index low = std::min(2 * n, lanes<U>);
        a = Whole ? load(x + 2 * i) : load_first(x + 2 * i, low);
        b = Whole ? load(x + 2 * i + lanes<U>) : load_first(x + 2 * i + low, 2 * n - low);
        separate(a, b);
      }
    }
    template <class LayoutT>
    __attribute__((always_inline)) static Vec<U> load_angles(const U* x) {
      if constexpr (std::is_same_v<LayoutT, HalfSplit>)
        return load(x);
      else
        return pair_order(load(x));
    }

    template <class LayoutT, bool Whole>
    __attribute__((always_inline)) void pair_step(std::bool_constant<Whole>,
                                                  const simd::KeyAngles<U>& turn, Index i, Index n,
                                                  const U* const* cos, const U* const* sin,
                                                  const Queries& q) {
      Vec<U> turned_a[together], turned_b[together];
#pragma GCC unroll 4
      for (int key = 0; key < together; ++key) {
        constexpr Index bytes = 2 * lanes<U> * Index{sizeof(T)};
        prefetcher_.advance(std::min(bytes, cache_line));
        if constexpr (bytes > cache_line) prefetcher_.advance(cache_line);
        Vec<U> a, b;
        load_pairs<LayoutT, Whole>(row_[key] + turn.offset, i, n, turn.pairs, a, b);
        Vec<U> c = load_angles<LayoutT>(cos[key] + i), s = load_angles<LayoutT>(sin[key] + i);
        // Pinned operands are loaded once, which pays where there is more to compute.
        if constexpr (Rows > 1) pin(a), pin(b), pin(c), pin(s);
        turned_a[key] = fms(a, c, b * s);
        turned_b[key] = fma(a, s, b * c);
      }
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) {
        Vec<U> a, b;
        load_pairs<LayoutT, Whole>(q[r] + turn.offset, i, n, turn.pairs, a, b);
        if constexpr (Rows > 1) pin(a), pin(b);
#pragma GCC unroll 4
        for (int key = 0; key < together; ++key) {
          Vec<U>& to = sum_[r * together + key];
          to = fma(b, turned_b[key], fma(a, turned_a[key], to));
        }
      }
    }

    const T* row_[together];
    Vec<U> sum_[Rows * together];
    Prefetcher<Busy>& prefetcher_;
  };

  /// A function of its own: within add_values, GCC has too few registers for all it keeps.
  template <bool SkipZeros, int Rows, class T>
  __attribute__((noinline)) static void values_of_rows(
      Index keys, Index width, const RowPointers<Rows, const U_<T>>& weights, const T* values,
      const RowPointers<Rows, U_<T>>& out, Prefetcher<is_busy<Rows>> position) {
    using U = arithmetic_t<T>;
    constexpr int most = block_sums / Rows, vectors = most >= 8 ? 8 : most >= 4 ? 4 : 2;
    Index c = 0;
    const auto columns = [&]<int Vectors, bool Whole>(std::integral_constant<int, Vectors>,
                                                      std::bool_constant<Whole>) {
      const auto at = [&](int r, int v) { return out[r] + c + v * lanes<U>; };
      Vec<U> sum[Rows][Vectors];
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sum[r][v] = load(at(r, v));
      const T* row = values + c;
      Prefetcher<is_busy<Rows>> prefetcher = position;
      for (Index k = 0; k < keys; ++k, row += width) {
        Vec<U> weight[Rows];
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) weight[r] = broadcast(weights[r][k]);
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) {
          const T* const from = row + v * lanes<U>;
          if (v % line_vectors<T> == 0)
            prefetcher.advance(std::min(Vectors - v, line_vectors<T>) * lanes<U> *
                               Index{sizeof(T)});
          Vec<U> value = Whole ? load(from) : load_first(from, std::min(lanes<U>, width - c));
          pin(value);
#pragma GCC unroll 4
          for (int r = 0; r < Rows; ++r) {
            const Vec<U> added = fma(weight[r], value, sum[r][v]);
            sum[r][v] = SkipZeros ? blend(sum[r][v], added, is_not_zero(weight[r])) : added;
          }
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) store(at(r, v), sum[r][v]);
      position = prefetcher;
      c += Vectors * lanes<U>;
    };
    if constexpr (!SkipZeros)  // which is rare
      while (c + vectors * lanes<U> <= width)
        columns(std::integral_constant<int, vectors>{}, std::true_type{});
    while (c < width) columns(std::integral_constant<int, 1>{}, std::false_type{});
  }
};
