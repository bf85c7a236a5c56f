// The loops of the gradients of mixers, for one instruction set. Included once within the namespace and the region of
// each level, after the leaves of the mixers.
//
// Rows of buffers are padded with zeros to a multiple of 16 numbers, so loops over them have no rest.

struct GradientLoops {
  /// Decays by channel: what the pairs of a block of tokens add to the gradients of q and k, where dw[t][m], zero for
  /// later tokens and where nothing decays, is the gradient of the weight sum of q_t k_m (decays from m to t). Rows of dw
  /// are `w_row` apart. Each sum is Horner's: what came so far is decayed by one token more.
  static void pairs(bool before, Index tokens, Index row, const float* q, const float* k,
                    const float* decay, Index decay_row, const float* dw, Index w_row, float* dq,
                    float* dk) {
    Index c = 0;
    const auto channels_of = [&]<int V>(std::integral_constant<int, V>) {
      for (; c + V * lanes<float> <= row; c += V * lanes<float>) {
        of_queries<V>(before, tokens, row, k + c, decay + c, decay_row, dw, w_row, dq + c);
        before ? of_keys<V, true>(tokens, row, q + c, decay + c, decay_row, dw, w_row, dk + c)
               : of_keys<V, false>(tokens, row, q + c, decay + c, decay_row, dw, w_row, dk + c);
      }
    };
    channels_of(std::integral_constant<int, 4>{});
    channels_of(std::integral_constant<int, 2>{});
    channels_of(std::integral_constant<int, 1>{});
  }

  /// The gradients of the log decays of a chunk, for each channel. What token t decays is what passes it: `through`, from
  /// before the chunk to behind it; of tokens before t to behind the chunk, k times to_end; and pairs of tokens on
  /// both sides, with the state before the chunk as one of them. A pair counts with the query and is taken off again
  /// behind its key, so these are a sum from the last token on of q dq - k dk.
  static void decays(bool before, Index tokens, Index row, const float* q, const float* dq,
                     const float* k, const float* dk, const float* to_end, const float* through,
                     float* gradient) {
    for (Index c = 0; c < row; c += lanes<float>) {
      Vec<float> passes = load(through + c), later = broadcast(0.0F);
      for (Index at = c; at < tokens * row; at += row) {
        store(gradient + at, passes);
        passes = fma(load(k + at), load(to_end + at), passes);
      }
      for (Index at = (tokens - 1) * row + c; at >= 0; at -= row) {
        const Vec<float> reads = load(q + at) * load(dq + at);
        later = later - load(k + at) * load(dk + at);
        if (!before) later = later + reads;  // otherwise it has not met its own decay
        store(gradient + at, load(gradient + at) + later);
        if (before) later = later + reads;
      }
    }
  }

  /// y += x, and z += x y.
  static void add(Index n, const float* x, float* y) {
    for (Index i = 0; i < n; i += lanes<float>) store(y + i, load(y + i) + load(x + i));
  }
  static void add_products(Index n, const float* x, const float* y, float* z) {
    for (Index i = 0; i < n; i += lanes<float>)
      store(z + i, fma(load(x + i), load(y + i), load(z + i)));
  }

 private:
  /// dq_t += sum over m of dw[t][m] k_m (decays from m to t).
  template <int V>
  static void of_queries(bool before, Index tokens, Index row, const float* k, const float* decay,
                         Index decay_row, const float* dw, Index w_row, float* dq) {
    for (Index t = 0; t < tokens; ++t) {
      Vec<float> sum[V];
#pragma GCC unroll 4
      for (int i = 0; i < V; ++i) sum[i] = broadcast(0.0F);
      for (Index m = 0; m < (before ? t : t + 1); ++m) {
        const Vec<float> weight = broadcast(dw[t * w_row + m]);
#pragma GCC unroll 4
        for (int i = 0; i < V; ++i)
          sum[i] = fma(sum[i], load(decay + m * decay_row + i * lanes<float>),
                       weight * load(k + m * row + i * lanes<float>));
      }
#pragma GCC unroll 4
      for (int i = 0; i < V; ++i) {
        float* const at = dq + t * row + i * lanes<float>;
        store(at, load(at) + sum[i]);
      }
    }
  }
  /// dk_m += sum over t of dw[t][m] q_t (decays from m to t).
  template <int V, bool Before>
  static void of_keys(Index tokens, Index row, const float* q, const float* decay, Index decay_row,
                      const float* dw, Index w_row, float* dk) {
    for (Index m = 0; m < tokens; ++m) {
      Vec<float> sum[V];
#pragma GCC unroll 4
      for (int i = 0; i < V; ++i) sum[i] = broadcast(0.0F);
      for (Index t = tokens - 1; t > m; --t) {
        const Vec<float> weight = broadcast(dw[t * w_row + m]);
#pragma GCC unroll 4
        for (int i = 0; i < V; ++i) {
          const Vec<float> query = load(q + t * row + i * lanes<float>);
          const Vec<float> change = load(decay + t * decay_row + i * lanes<float>);
          sum[i] =
              Before ? fma(sum[i], change, weight * query) : fma(weight, query, sum[i]) * change;
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < V; ++i) {
        float* const at = dk + m * row + i * lanes<float>;
        store(at, load(at) + sum[i]);
      }
    }
  }
};
