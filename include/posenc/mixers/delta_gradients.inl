// The loops of the gradients of the delta rules over a state, for one instruction set. Included once within the
// namespace and the region of each level, after the leaves of the mixers. Rows of a state are `width` numbers, a
// multiple of 16.

struct DeltaGradientLoops {
  /// What comes to a token by its output and by the state S behind it, whose gradient is dS:
  ///
  ///   dS += q d_out^T      dq = S d_out      dk = dS v      dv += dS^T k
  ///
  /// and where it erases, S holding w u^T as well, dw = dS u and du += dS^T w; otherwise w is null.
  static void comes(Index rows, Index width, const float* q, const float* d_out, const float* k,
                    const float* v, const float* w, const float* u, const float* s, float* ds,
                    float* dq, float* dk, float* dv, float* dw, float* du) {
    w ? comes<true>(rows, width, q, d_out, k, v, w, u, s, ds, dq, dk, dv, dw, du)
      : comes<false>(rows, width, q, d_out, k, v, w, u, s, ds, dq, dk, dv, dw, du);
  }

  /// From the state S before a token, its decays keep + change and the gradient of what the vector z reads, d_read:
  ///
  ///   S' = (keep + change) S   dz += S' d_read   dS' = dS + z d_read^T   dlog = rowsum(dS' o S')   dS = decays dS'
  ///
  /// or, where z reads before the decays, dz += S d_read, dlog = rowsum(dS o S'), dS = decays dS + z d_read^T.
  static void back(bool before, Index rows, Index width, const float* keep, const float* change,
                   const float* z, const float* d_read, const float* s, float* ds, float* dz,
                   float* dlog) {
    before ? back<true>(rows, width, keep, change, z, d_read, s, ds, dz, dlog)
           : back<false>(rows, width, keep, change, z, d_read, s, ds, dz, dlog);
  }

 private:
  template <bool Erases>
  static void comes(Index rows, Index width, const float* q, const float* d_out, const float* k,
                    const float* v, const float* w, const float* u, const float* s, float* ds,
                    float* dq, float* dk, float* dv, float* dw, float* du) {
    for (Index c = 0; c < rows; ++c, s += width, ds += width) {
      const Vec<float> query = broadcast(q[c]), key = broadcast(k[c]),
                       writes = broadcast(Erases ? w[c] : 0.0F);
      Vec<float> of_q = broadcast(0.0F), of_k = of_q, of_w = of_q;
      for (Index j = 0; j < width; j += lanes<float>) {
        const Vec<float> out = load(d_out + j), gradient = fma(query, out, load(ds + j));
        store(ds + j, gradient);
        of_q = fma(out, load(s + j), of_q);
        of_k = fma(gradient, load(v + j), of_k);
        store(dv + j, fma(key, gradient, load(dv + j)));
        if constexpr (Erases) {
          of_w = fma(gradient, load(u + j), of_w);
          store(du + j, fma(writes, gradient, load(du + j)));
        }
      }
      dq[c] = across(of_q), dk[c] = across(of_k);
      if constexpr (Erases) dw[c] = across(of_w);
    }
  }
  template <bool Before>
  static void back(Index rows, Index width, const float* keep, const float* change, const float* z,
                   const float* d_read, const float* s, float* ds, float* dz, float* dlog) {
    for (Index c = 0; c < rows; ++c, s += width, ds += width) {
      const Vec<float> stays = broadcast(keep[c]), goes = broadcast(change[c]),
                       reads = broadcast(z[c]);
      Vec<float> of_z = broadcast(0.0F), of_log = of_z;
      for (Index j = 0; j < width; j += lanes<float>) {
        const Vec<float> old = load(s + j), decayed = fma(old, goes, old * stays),
                         read = load(d_read + j);
        of_z = fma(read, Before ? old : decayed, of_z);
        Vec<float> gradient = load(ds + j);
        if constexpr (!Before) gradient = fma(reads, read, gradient);
        of_log = fma(gradient, decayed, of_log);
        gradient = fma(gradient, goes, gradient * stays);
        if constexpr (Before) gradient = fma(reads, read, gradient);
        store(ds + j, gradient);
      }
      dz[c] += across(of_z), dlog[c] = across(of_log);
    }
  }
  static float across(Vec<float> x) {
    float lane[lanes<float>], total = 0;
    store(lane, x);
    for (const float one : lane) total += one;
    return total;
  }
};
