// The loops of the selective scan and of the short convolution, for one instruction set. Included once within the
// namespace and the region of each level, after the leaves of the mixers, whose exponentials they use.
//
// Channels lie along the lanes, 16 in a block: all numbers that a token has for all channels (B, C) are broadcast, and no
// sum goes across lanes. Rows are padded to a multiple of 16 numbers.

struct ScanLoops {
  static constexpr Index block = 16;

  /// For rows of tokens, `row` numbers each: dt becomes Delta, y becomes D u, and u becomes Delta u.
  static void prepare(Index tokens, Index row, bool softplus, const float* bias, const float* least,
                      const float* skip, float* dt, float* u, float* y) {
    for_rows(tokens, row, [&](Index at, Index c) {
      const Vec<float> delta = load(dt + at) + load(bias + c);
      store(dt + at, softplus ? delta : maximum(delta, load(least + c)));
    });
    if (softplus) MixerLeaves::softplus(tokens * row, 1, 1, dt, dt);
    for_rows(tokens, row, [&](Index at, Index c) {
      const Vec<float> input = load(u + at);
      store(y + at, load(skip + c) * input);
      store(u + at, load(dt + at) * input);
    });
  }

  /// Some tokens of a block of 16 channels: h[n] = exp(Delta a[n]) h[n] + Delta u b[n], y += sum over n of c[n] h[n].
  ///
  /// `a` is in units of log 2, [states][16] as h is. A decay 2^(w + f), with w whole, is applied as
  /// 2^w (1 + (2^f - 1)): the power of two is exact, and what the decay lacks to 1 is as exact as a float near 0, so
  /// decays near 1 lose nothing over many tokens.
  static void scan(Index tokens, Index states, const float* a, const float* dt, const float* write,
                   Index row, const float* b, const float* c, Index state_row, float* h, float* y) {
    constexpr int vectors = block / lanes<float>;
    for (Index t = 0; t < tokens;
         ++t, dt += row, write += row, y += row, b += state_row, c += state_row) {
      Vec<float> delta[vectors], input[vectors], out[vectors];
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) {
        delta[i] = load(dt + i * lanes<float>);
        input[i] = load(write + i * lanes<float>);
        out[i] = load(y + i * lanes<float>);
      }
      const float* rate = a;
      float* state = h;
      for (Index n = 0; n < states; ++n, rate += block, state += block) {
        const Vec<float> in = broadcast(b[n]), read = broadcast(c[n]);
#pragma GCC unroll 4
        for (int i = 0; i < vectors; ++i) {
          Vec<float> whole;
          const Vec<float> f = fraction(delta[i] * load(rate + i * lanes<float>), whole);
          const Vec<float> old = scale_by_power(load(state + i * lanes<float>), whole);
          const Vec<float> now = fma(old, power_slope(f) * f, fma(input[i], in, old));
          store(state + i * lanes<float>, now);
          out[i] = fma(read, now, out[i]);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) store(y + i * lanes<float>, out[i]);
    }
  }

  /// y = x silu(z); x, z and y may be the same.
  static void gate(Index n, const float* x, const float* z, float* y) {
    for (Index i = 0; i < n; i += lanes<float>) store(y + i, load(x + i) * silu(load(z + i)));
  }
  /// y = silu(y)
  static void activate(Index n, float* y) {
    for (Index i = 0; i < n; i += lanes<float>) store(y + i, silu(load(y + i)));
  }

  /// Some tokens of a convolution along them: y[t] = bias + sum over i < width of weight[i] x[t + i], for rows of `row`
  /// channels; x begins with the width - 1 tokens before.
  static void convolve(Index tokens, Index row, Index width, const float* weight, Index weight_row,
                       const float* bias, const float* x, float* y) {
    for_rows(tokens, row, [&](Index at, Index c) {
      Vec<float> sum = load(bias + c);
      for (Index i = 0; i < width; ++i)
        sum = fma(load(weight + i * weight_row + c), load(x + at + i * row), sum);
      store(y + at, sum);
    });
  }

 private:
  /// Calls f(place, channel) for the vectors of some rows.
  template <class F>
  static void for_rows(Index rows, Index row, const F& f) {
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < row; c += lanes<float>) f(r * row + c, c);
  }
  /// z / (1 + exp(-z)), by the exponential of -|z|, which is at most 1.
  static Vec<float> silu(Vec<float> z) {
    const Vec<float> one = broadcast(1.0F), zero = broadcast(0.0F);
    const Vec<float> power = exp2((zero - maximum(z, zero - z)) * broadcast(1.442695041F));
    return z * blend(one, power, greater(zero, z)) / (one + power);
  }
};
