// The loops of the selective scan and of the short convolution, for one instruction set. Included once within the
// namespace and the region of each level, after the leaves of the mixers, whose exponentials they use.
//
// Channels lie along the lanes, 16 in a block: all numbers that a token has for all channels (B, C) are broadcast, and no
// sum goes across lanes. Rows are padded to a multiple of 16 numbers.

/// A decay 2^(x / power_steps), as h times it: scale_by_steps(h, whole) (1 + what is returned). So it is exact where it is
/// 1, and what it lacks to 1 is as exact as a float near 0. `Bounded` where |x| is at most 126 power_steps.
template <bool Bounded>
inline Vec<float> decay_in_steps(Vec<float> x, Vec<float>& whole) {
  const Vec<float> f =
      bounded_fraction(Bounded ? x : maximum(x, broadcast(-127.0F * power_steps)), whole);
  static_assert(power_steps == 1 || power_steps == 4);
  if constexpr (power_steps == 1) {
    return power_slope(f) * f;
  } else {  // (2^(f/4) - 1) / f within [-1/2, 1/2], exact at 0, within 9e-8 relative to it
    Vec<float> p = broadcast(3.757081683e-05F);
    p = fma(p, f, broadcast(0.0008675213727F));
    p = fma(p, f, broadcast(0.01501415668F));
    return fma(p, f, broadcast(0.1732867951F)) * f;
  }
}

struct ScanLoops {
  static constexpr Index block = 16;

  /// For rows of tokens: Delta of dt, x = Delta u and y = D u. What is read has rows of its own, dt_row and u_row apart,
  /// what is written rows of `row` numbers. Delta may be dt, and x may be u. Exponentials first, for all: many short
  /// chains of operations run side by side, where few long ones would be waited for.
  static void prepare(Index tokens, Index row, bool softplus, const float* bias, const float* least,
                      const float* skip, const float* dt, Index dt_row, const float* u, Index u_row,
                      float* delta, float* x, float* y) {
    const auto sum = [&](Index t, Index c) { return load(dt + t * dt_row + c) + load(bias + c); };
    if (softplus)
      for_vectors(tokens, row, [&](Index t, Index c) {
        store(y + t * row + c, MixerLeaves::exp_of_minus_abs(sum(t, c)));
      });
    for_vectors(tokens, row, [&](Index t, Index c) {
      const Index at = t * row + c;
      const Vec<float> input = load(u + t * u_row + c),
                       change = softplus ? MixerLeaves::softplus(sum(t, c), load(y + at))
                                         : maximum(sum(t, c), load(least + c));
      store(delta + at, change);
      store(x + at, change * input);
      store(y + at, load(skip + c) * input);
    });
  }

  /// Some tokens of a block of 16 channels: h[n] = exp(Delta a[n]) h[n] + Delta u b[n], y += sum over n of c[n] h[n].
  /// `a` is in units of log 2, [states][16] as h is; `least` is SelectiveScan's.
  static void scan(Index tokens, Index states, const float* a, const float* least, const float* dt,
                   const float* write, Index row, const float* b, const float* c, Index state_row,
                   float* h, float* y) {
    bool bounded = true;
    for (Index i = 0; i < block; i += lanes<float>) {
      Vec<float> most = broadcast(0.0F);
      for (Index t = 0; t < tokens; ++t) most = maximum(most, load(dt + t * row + i));
      bounded &= !any(greater(most, broadcast(0.0F) - load(least + i)));
    }
    bounded ? scan_tokens<true>(tokens, states, a, dt, write, row, b, c, state_row, h, y)
            : scan_tokens<false>(tokens, states, a, dt, write, row, b, c, state_row, h, y);
  }

  /// y = x silu(z) for rows, y may be x; powers, rows of `width`, becomes exp(-|z|), and may be y if that is not x.
  static void gate(Index rows, Index width, const float* x, Index x_row, const float* z,
                   Index z_row, float* powers, float* y, Index y_row) {
    for_vectors(rows, width, [&](Index r, Index c) {
      store(powers + r * width + c, MixerLeaves::exp_of_minus_abs(load(z + r * z_row + c)));
    });
    for_vectors(rows, width, [&](Index r, Index c) {
      const Vec<float> gate = silu(load(z + r * z_row + c), load(powers + r * width + c));
      store(y + r * y_row + c, load(x + r * x_row + c) * gate);
    });
  }
  /// y = silu(y)
  static void activate(Index n, float* y) {
    for (Index i = 0; i < n; i += lanes<float>) store(y + i, silu(load(y + i)));
  }

  /// Some tokens of a convolution along them: y[t] = bias + sum over i < width of weight[i] x[t + i], for rows of `row`
  /// channels; x begins with the width - 1 tokens before.
  static void convolve(Index tokens, Index row, Index width, const float* weight, Index weight_row,
                       const float* bias, const float* x, float* y) {
    for_vectors(tokens, row, [&](Index t, Index c) {
      const Index at = t * row + c;
      Vec<float> sum = load(bias + c);
      for (Index i = 0; i < width; ++i)
        sum = fma(load(weight + i * weight_row + c), load(x + at + i * row), sum);
      store(y + at, sum);
    });
  }

 private:
  /// Calls f(row, channel) for the vectors of some rows.
  template <class F>
  static void for_vectors(Index rows, Index width, const F& f) {
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < width; c += lanes<float>) f(r, c);
  }
  /// scan(); `Bounded` when no decay is beyond the powers of two that floats have.
  template <bool Bounded>
  static void scan_tokens(Index tokens, Index states, const float* a, const float* dt,
                          const float* write, Index row, const float* b, const float* c,
                          Index state_row, float* h, float* y) {
    constexpr int vectors = block / lanes<float>;
    for (Index t = 0; t < tokens;
         ++t, dt += row, write += row, y += row, b += state_row, c += state_row) {
      Vec<float> delta[vectors], input[vectors], out[vectors];
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) {
        delta[i] = load(dt + i * lanes<float>) * broadcast(static_cast<float>(power_steps));
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
          const Vec<float> lacks =
              decay_in_steps<Bounded>(delta[i] * load(rate + i * lanes<float>), whole);
          const Vec<float> old = scale_by_steps(load(state + i * lanes<float>), whole);
          const Vec<float> now = fma(old, lacks, fma(input[i], in, old));
          store(state + i * lanes<float>, now);
          out[i] = fma(read, now, out[i]);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) store(y + i * lanes<float>, out[i]);
    }
  }
  /// z / (1 + exp(-z)), by the exponential of -|z|.
  static Vec<float> silu(Vec<float> z) { return silu(z, MixerLeaves::exp_of_minus_abs(z)); }
  static Vec<float> silu(Vec<float> z, Vec<float> power) {
    const Vec<float> one = broadcast(1.0F);
    return z * blend(one, power, greater(broadcast(0.0F), z)) / (one + power);
  }
};
