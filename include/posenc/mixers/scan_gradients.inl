// The loops of the gradient of the selective scan, for one instruction set. Included once within the namespace and the
// region of each level, after those of the scan. Numbers of 16 channels lie side by side, for each token and state.

struct ScanGradientLoops {
  static constexpr Index block = 16;
  static constexpr int vectors = block / lanes<float>;

  /// h of some tokens as ScanLoops::scan() computes it: before[t] is the one before token t, and that behind the last is
  /// before[tokens]; decays[t] is exp(Delta_t A). `a` is in units of log 2.
  static void forward(Index tokens, Index states, const float* a, const float* dt,
                      const float* write, const float* b, Index state_row, float* before,
                      float* decays) {
    const Index row = states * block;
    for (Index t = 0; t < tokens;
         ++t, dt += block, write += block, b += state_row, before += row, decays += row)
      for (Index n = 0; n < states; ++n) {
        const Vec<float> in = broadcast(b[n]);
#pragma GCC unroll 4
        for (int i = 0; i < vectors; ++i) {
          const Index c = i * lanes<float>, at = n * block + c;
          Vec<float> whole;
          const Vec<float> lacks = decay_in_steps<false>(
              load(dt + c) * broadcast(static_cast<float>(power_steps)) * load(a + at), whole);
          const Vec<float> old = scale_by_steps(load(before + at), whole);
          store(before + row + at, fma(old, lacks, fma(load(write + c), in, old)));
          store(decays + at, scale_by_steps(broadcast(1.0F) + lacks, whole));
        }
      }
  }

  /// The same tokens from the last to the first. dh is the gradient of the state and moves with them; da, [states][16], is
  /// added to, as are the sums over the 16 channels db and dc, `sum_row` apart. read, by_input and by_rate become the sums
  /// over states of C h, dh B and dh exp(Delta A) h_{t-1} a.
  static void back(Index tokens, Index states, const float* a, const float* dt, const float* write,
                   const float* dy, const float* b, const float* c, Index state_row,
                   const float* before, const float* decays, float* dh, float* da, float* db,
                   float* dc, Index sum_row, float* read, float* by_input, float* by_rate) {
    const Index row = states * block;
    for (Index t = tokens; t-- > 0;) {
      const float *const old = before + t * row, *const now = old + row,
                         *const decay = decays + t * row;
      Vec<float> sums[3][vectors];
      for (auto& sum : sums)
        for (Vec<float>& one : sum) one = broadcast(0.0F);
      for (Index n = 0; n < states; ++n) {
        const Vec<float> in = broadcast(b[t * state_row + n]),
                         out = broadcast(c[t * state_row + n]);
        Vec<float> of_b = broadcast(0.0F), of_c = of_b;
#pragma GCC unroll 4
        for (int i = 0; i < vectors; ++i) {
          const Index lane = i * lanes<float>, at = n * block + lane, channel = t * block + lane;
          const Vec<float> comes = load(dy + channel), h = load(now + at);
          const Vec<float> gradient = fma(comes, out, load(dh + at));
          of_c = fma(comes, h, of_c);
          of_b = fma(gradient, load(write + channel), of_b);
          sums[0][i] = fma(out, h, sums[0][i]);
          sums[1][i] = fma(gradient, in, sums[1][i]);
          const Vec<float> less = gradient * load(decay + at), passes = less * load(old + at);
          sums[2][i] = fma(passes, load(a + at), sums[2][i]);
          store(da + at, fma(passes, load(dt + channel), load(da + at)));
          store(dh + at, less);
        }
        db[t * sum_row + n] += across(of_b);
        dc[t * sum_row + n] += across(of_c);
      }
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) {
        const Index channel = t * block + i * lanes<float>;
        store(read + channel, sums[0][i]);
        store(by_input + channel, sums[1][i]);
        store(by_rate + channel, sums[2][i]);
      }
    }
  }

 private:
  static float across(Vec<float> x) {
    float lane[lanes<float>], total = 0;
    store(lane, x);
    for (const float one : lane) total += one;
    return total;
  }
};
